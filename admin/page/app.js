// The status page: it reads one status a second from the stream of events and shows it. Values from
// outside, above all names and errors, enter the page as text (textContent, setAttribute) and never
// as HTML.

const api = 'api/v1/'; // relative: the page may lie below a prefix
const servicesEvery = 5000; // ms between two looks at the list of services
const shownSeconds = 300; // the longest span of the charts
const meanSeconds = 5; // rates in the charts are averages over this: confirmations come in bursts
const staleAfter = 4000; // ms without a status
const reconnectAfter = 15000; // ms without a status on a stream that says it is open
const maxChanges = 8;

const byId = (id) => document.getElementById(id);

// ---- small helpers ------------------------------------------------------------------------------

// setText leaves a node alone if its text is right already: that keeps a selection and saves a
// layout.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const svgSpace = document.querySelector('svg').namespaceURI;

function makeSVG(tag, attributes, text) {
  const node = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function sign(name) {
  const node = makeSVG('svg', { class: 'sign', 'aria-hidden': 'true' });
  node.append(makeSVG('use', { href: `#sign-${name}` }));
  return node;
}

// bar shows a part of a whole, from 0 to 1. Callers show the number beside it as text.
function bar() {
  const node = makeSVG('svg', { class: 'bar', 'aria-hidden': 'true' });
  node.append(makeSVG('rect', { width: '0%', height: '100%' }));
  return node;
}

function setBar(node, part) {
  node.firstChild.setAttribute('width', `${(100 * Math.min(1, part)).toFixed(1)}%`);
}

// say speaks only to screen readers.
function say(text) {
  byId('said').textContent = text;
}

// ---- numbers ------------------------------------------------------------------------------------

const grouped = new Intl.NumberFormat('en');
const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

const count = (n) => grouped.format(n);
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

// short writes an approximate number with at most four digits.
function short(n) {
  if (n >= 1e9) return `${digits(n / 1e9)} G`;
  if (n >= 1e6) return `${digits(n / 1e6)} M`;
  if (n >= 1e4) return `${digits(n / 1e3)} k`;
  return n > 0 && n < 10 ? n.toFixed(1) : count(Math.round(n));
}

function digits(n) {
  if (n >= 100) return n.toFixed(0);
  return n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

function byteUnit(n) {
  let i = 0;
  while (n >= 1024 && i < byteUnits.length - 1) {
    n /= 1024;
    i++;
  }
  return i;
}

function bytes(n) {
  const i = byteUnit(n);
  return i === 0 ? `${Math.round(n)} B` : `${digits(n / 1024 ** i)} ${byteUnits[i]}`;
}

const bytesPerSecond = (n) => `${bytes(n)}/s`;

function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function latency(seconds) {
  if (!seconds) return '–';
  return seconds < 1 ? `${digits(seconds * 1000)} ms` : `${digits(seconds)} s`;
}

// between returns the time from an event to a status, both by the server's clock.
function between(time, status) {
  return duration((Date.parse(status.now) - Date.parse(time)) / 1000);
}

// ---- the last minutes ---------------------------------------------------------------------------

const perSecond = (read) => ({ read, counter: true });
const gauge = (read) => ({ read, counter: false });

// The contents of the charts in each mode, in the order of the page. floor is the smallest value for
// the top of a chart. The chart of the spool is hidden where there is none.
const plans = {
  line: [
    {
      title: 'Lines per second', format: short, base: 1000, floor: 10,
      series: [
        { name: 'received', ...perSecond((s) => s.ledger.received.lines) },
        { name: 'sent', ...perSecond((s) => s.ledger.sent.lines) },
        { name: 'confirmed', ...perSecond((s) => s.ledger.confirmed.lines) },
      ],
    },
    {
      title: 'Bytes per second', format: bytesPerSecond, base: 1024, floor: 1024,
      series: [
        { name: 'received', ...perSecond((s) => s.ledger.received.bytes) },
        { name: 'sent', ...perSecond((s) => s.ledger.sent.bytes) },
        { name: 'confirmed', ...perSecond((s) => s.ledger.confirmed.bytes) },
      ],
    },
    {
      title: 'Bytes in the spool', format: bytes, base: 1024, floor: 1024,
      series: [
        { name: 'files', ...gauge((s) => s.spool?.bytes ?? null) },
        { name: 'unconfirmed', ...gauge((s) => s.spool?.unconfirmed.bytes ?? null) },
      ],
    },
  ],
  connection: [
    {
      title: 'Bytes per second', format: bytesPerSecond, base: 1024, floor: 1024,
      series: [
        { name: 'from clients', ...perSecond((s) => s.totals.received_bytes) },
        { name: 'to clients', ...perSecond((s) => s.totals.sent_bytes) },
      ],
    },
    {
      title: 'Connections', format: (n) => count(Math.round(n)), base: 1000, floor: 5,
      series: [
        { name: 'open', ...gauge((s) => s.totals.connections) },
        { name: 'waiting', ...gauge((s) => s.totals.waiting) },
      ],
    },
  ],
};

// The charts are drawn from samples, oldest first. at is ms by the server's clock, run identifies
// the run of linesplit, counts has the readings of the series, a list for each chart, and values
// the figures that they show, null where there is none. All samples are of one mode, because the
// charts show other series in the other mode.
let samples = [];

// closest is the minimum time between two samples in ms: the first two statuses of a stream may come
// at once.
const closest = 500;
// gap is the maximum time in ms between two samples that a line joins: the values in between are
// unknown.
const gap = 3500;

function remember(status) {
  const at = Date.parse(status.now);
  const last = samples.at(-1);
  if (last && last.at >= at) samples = []; // the clock was set back
  else if (last && at - last.at < closest && last.run === status.started) return;
  const counts = plans[status.mode].map((plan) => plan.series.map((series) => series.read(status)));
  const sample = { at, run: status.started, mode: status.mode, counts };
  samples = samples.filter((old) => old.mode === sample.mode && at - old.at <= shownSeconds * 1000);
  const from = meanFrom(sample);
  sample.values = plans[status.mode].map((plan, i) => plan.series.map((series, j) => (series.counter ? rate(from, sample, i, j) : counts[i][j])));
  samples.push(sample);
}

// meanFrom returns the sample at which the average for a new sample begins, or null.
function meanFrom(sample) {
  let from = sample;
  for (const old of samples.toReversed()) {
    if (old.run !== sample.run || from.at - old.at > gap || sample.at - old.at > meanSeconds * 1000 + closest) break;
    from = old;
  }
  return from === sample ? null : from;
}

function rate(from, to, i, j) {
  if (!from || to.counts[i][j] < from.counts[i][j]) return null;
  return ((to.counts[i][j] - from.counts[i][j]) / (to.at - from.at)) * 1000;
}

// recall reads the last minutes of this run from linesplit: the page may have missed them.
async function recall() {
  const of = service;
  let history;
  try {
    history = await ask('GET', 'history');
  } catch {
    return; // the charts keep the samples they have
  }
  if (of !== service) return; // the page shows another one meanwhile
  const { mode, started } = history;
  samples = samples.filter((old) => old.run !== started);
  for (const { at, received, sent, confirmed, sent_bytes, connections, waiting, spool } of history.samples) {
    const totals = { received_bytes: received.bytes, sent_bytes, connections, waiting };
    remember({ mode, started, now: at, ledger: { received, sent, confirmed }, totals, spool });
  }
  drawCharts();
}

// ---- charts -------------------------------------------------------------------------------------

const figures = [...document.querySelectorAll('.chart')];
let cursorAt = null; // ms of the sample under the cursor, in all charts; null: now

const styles = ['first', 'second', 'third']; // of the series, in this order

const margin = { left: 58, right: 6, top: 8, bottom: 18 };

// extent returns how many seconds the charts show: more as the samples cover more.
function extent() {
  const there = (samples.at(-1).at - samples[0].at) / 1000;
  return [60, 120, shownSeconds].find((seconds) => there <= seconds) ?? shownSeconds;
}

// ticksTo returns round values from 0 to the first one that is at least max.
function ticksTo(max, base) {
  // For bytes, the unit is chosen so that 0.75 MiB is a tick at 768 KiB, rather than 750 KiB.
  const unit = base === 1024 ? 1024 ** byteUnit(max * 1.6) : 1;
  const rough = max / unit / 3.4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factors = base === 1024 && rough < 1 ? [1, 1.25, 2.5, 5, 10] : [1, 2, 5, 10];
  const step = unit * power * factors.find((factor) => factor * power >= rough);
  const ticks = [0];
  while (ticks.at(-1) < max) ticks.push(ticks.at(-1) + step);
  return ticks;
}

function drawCharts() {
  if (!shown || samples.length === 0) return;
  plans[shown.mode].forEach((plan, i) => drawChart(figures[i], plan, i));
}

function drawChart(figure, plan, index) {
  const svg = figure.querySelector(':scope > svg');
  const { width, height } = svg.getBoundingClientRect();
  if (width === 0) return;
  const seconds = extent();
  const end = samples.at(-1).at;
  const all = samples.flatMap((sample) => sample.values[index]);
  const ticks = ticksTo(Math.max(plan.floor, ...all), plan.base);
  const x = (at) => width - margin.right - ((end - at) / 1000 / seconds) * (width - margin.left - margin.right);
  const y = (value) => height - margin.bottom - (value / ticks.at(-1)) * (height - margin.top - margin.bottom);

  const parts = [...scaleOf(ticks, plan, y, width), ...timesOf(seconds, x, end, width, height)];
  plan.series.forEach((series, i) => {
    const points = samples.map(({ at, values }) => ({ at, value: values[index][i] }));
    parts.push(...curveOf(points, styles[i], x, y));
  });
  if (all.every((value) => value === null)) {
    parts.push(makeSVG('text', { x: (width + margin.left) / 2, y: height / 2, 'text-anchor': 'middle' }, 'measuring'));
  }
  parts.push(...cursorOf(plan, index, x, y, height));
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.replaceChildren(...parts);
  svg.setAttribute('aria-label', summaryOf(plan, index, seconds));
  setText(figure.querySelector('.chart-title'), plan.title);
  drawLegend(figure, plan, index);
}

function scaleOf(ticks, plan, y, width) {
  return ticks.flatMap((tick) => [
    makeSVG('line', { class: tick === 0 ? 'ground' : 'grid', x1: margin.left, x2: width - margin.right, y1: y(tick), y2: y(tick) }),
    makeSVG('text', { x: margin.left - 6, y: y(tick) + 3.5, 'text-anchor': 'end' }, tickLabel(tick, plan)),
  ]);
}

function tickLabel(tick, plan) {
  if (tick === 0) return '0';
  if (plan.base === 1024) {
    const i = byteUnit(tick);
    return `${count(tick / 1024 ** i)} ${byteUnits[i]}`;
  }
  if (tick >= 1e6) return `${count(tick / 1e6)} M`;
  return tick >= 1e4 ? `${count(tick / 1e3)} k` : count(tick);
}

function timesOf(seconds, x, end, width, height) {
  const step = ({ 60: 15, 120: 30 }[seconds] ?? 60) * (width < 300 ? 2 : 1);
  const parts = [];
  for (let ago = 0; ago <= seconds; ago += step) {
    const label = ago === 0 ? 'now' : seconds > 120 ? `−${ago / 60} min` : `−${ago} s`;
    const anchor = ago === 0 ? 'end' : 'middle';
    parts.push(makeSVG('text', { x: x(end - ago * 1000), y: height - 3, 'text-anchor': anchor }, label));
  }
  return parts;
}

// curveOf draws a line through the points, and an area below the first line of a chart.
function curveOf(points, className, x, y) {
  let line = '';
  let area = '';
  for (const run of runsOf(points)) {
    const path = run.map(({ at, value }) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('L');
    line += `M${path}`;
    if (run.length === 1) line += 'h.01'; // its round ends make a dot
    area += `M${x(run[0].at).toFixed(1)} ${y(0)}L${path}V${y(0)}Z`;
  }
  const curve = makeSVG('path', { class: className, d: line });
  return className === 'first' ? [makeSVG('path', { class: 'area', d: area }), curve] : [curve];
}

// runsOf splits the points where figures are missing.
function runsOf(points) {
  const runs = [];
  let last = null;
  for (const point of points) {
    if (point.value !== null) {
      if (last === null || last.value === null || point.at - last.at > gap) runs.push([]);
      runs.at(-1).push(point);
    }
    last = point;
  }
  return runs;
}

function cursorOf(plan, index, x, y, height) {
  const sample = sampleAtCursor();
  if (!sample) return [];
  const at = x(sample.at);
  const parts = [makeSVG('line', { class: 'cursor', x1: at, x2: at, y1: margin.top, y2: height - margin.bottom })];
  sample.values[index].forEach((value, i) => {
    if (value !== null) parts.push(makeSVG('circle', { class: `dot ${styles[i]}`, cx: at, cy: y(value), r: 3 }));
  });
  return parts;
}

function sampleAtCursor() {
  if (cursorAt === null) return null;
  return samples.reduce((best, sample) => (Math.abs(sample.at - cursorAt) < Math.abs(best.at - cursorAt) ? sample : best));
}

// drawLegend names the curves, with their figures at the cursor, or now.
function drawLegend(figure, plan, index) {
  const legend = figure.querySelector('.legend');
  if (legend.dataset.plan !== plan.title) {
    legend.dataset.plan = plan.title;
    legend.replaceChildren(...plan.series.map(legendEntry));
  }
  const sample = sampleAtCursor();
  setText(figure.querySelector('.chart-when'), sample ? `at ${clock.format(sample.at)}` : '');
  plan.series.forEach((series, i) => setText(legend.children[i].lastChild, figureOf(sample ?? samples.at(-1), plan, index, i)));
}

function figureOf(sample, plan, index, i) {
  const value = sample.values[index][i];
  return value === null ? '–' : plan.format(value);
}

function legendEntry(series, i) {
  const swatch = makeSVG('svg', { class: 'swatch', viewBox: '0 0 24 12', 'aria-hidden': 'true' });
  swatch.append(makeSVG('line', { class: styles[i], x1: 1, x2: 23, y1: 6, y2: 6 }));
  return make('span', '', swatch, series.name, make('b'));
}

function summaryOf(plan, index, seconds) {
  const parts = plan.series.map((series, i) => {
    const highest = Math.max(0, ...samples.map((sample) => sample.values[index][i]));
    return `${series.name} ${figureOf(samples.at(-1), plan, index, i)}, at most ${plan.format(highest)}`;
  });
  return `${plan.title} over the last ${seconds < 120 ? `${seconds} seconds` : `${seconds / 60} minutes`}: ${parts.join('; ')}`;
}

function moveCursor(at) {
  cursorAt = at;
  drawCharts();
}

function listenToChart(figure, index) {
  const svg = figure.querySelector(':scope > svg');
  const follow = (event) => {
    if (samples.length === 0) return;
    const box = svg.getBoundingClientRect();
    const part = (box.right - margin.right - event.clientX) / (box.width - margin.left - margin.right);
    moveCursor(samples.at(-1).at - part * extent() * 1000);
  };
  svg.addEventListener('pointermove', follow);
  svg.addEventListener('pointerdown', follow);
  svg.addEventListener('pointerleave', () => moveCursor(null));
  svg.addEventListener('blur', () => moveCursor(null));
  svg.addEventListener('keydown', (event) => steerCursor(event, index));
}

function steerCursor(event, index) {
  if (event.key === 'Escape') {
    moveCursor(null);
    return;
  }
  const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
  if (!step || samples.length === 0) return;
  event.preventDefault();
  const last = samples.length - 1;
  const from = cursorAt === null ? last : samples.indexOf(sampleAtCursor());
  const sample = samples[Math.max(0, Math.min(last, from + step))];
  moveCursor(sample.at);
  const plan = plans[shown.mode][index];
  const values = plan.series.map((series, i) => `${series.name} ${figureOf(sample, plan, index, i)}`);
  say(`${clock.format(sample.at)}: ${values.join(', ')}`);
}

// ---- lists of names and values ------------------------------------------------------------------

// fillList updates a dl with items: {label, value} and optional note, part (of a bar), operator and
// className. It rebuilds the nodes only when the labels change.
function fillList(list, items) {
  const labels = items.map((item) => item.label).join('\n');
  if (list.dataset.labels !== labels) {
    list.dataset.labels = labels;
    list.replaceChildren(...items.map(listEntry));
  }
  items.forEach((item, i) => {
    const entry = list.children[i];
    entry.className = item.className ?? '';
    setText(entry.querySelector('.value'), item.value);
    setText(entry.querySelector('.note'), item.note ?? '');
    if (item.part !== undefined) setBar(entry.querySelector('.bar'), item.part);
  });
}

function listEntry(item) {
  const label = make('dt');
  if (item.operator) {
    const operator = make('span', 'operator', item.operator);
    operator.setAttribute('aria-hidden', 'true');
    label.append(operator);
  }
  label.append(item.label);
  const entry = make('div', '', label, make('dd', '', make('span', 'value'), make('span', 'note')));
  if (item.part !== undefined) entry.append(make('dd', 'whole', bar()));
  return entry;
}

function showHead(s) {
  const about = [
    ...(s.service ? [{ label: 'service', value: s.service }] : []),
    { label: 'mode', value: s.balance ? `${s.mode}, ${s.balance}` : s.mode },
    { label: 'version', value: s.version },
    { label: 'up for', value: between(s.started, s) },
    { label: 'listens on', value: (s.listeners ?? []).join(', ') || 'nothing' },
  ];
  fillList(byId('about'), about);
  if (s.draining) setBadge('readiness', 'draining', 'draining: told to stop');
  else if (s.ready) setBadge('readiness', 'up', 'ready');
  else setBadge('readiness', 'down', s.reason ? `not ready: ${s.reason}` : 'not ready');
  document.title = titleOf(s);
}

// titleOf puts the problem first: a tab shows only the beginning of a title.
function titleOf(s) {
  const down = (s.targets ?? []).filter((target) => target.state === 'down').length;
  if (down > 0) return `${down} down · linesplit`;
  return s.ready ? 'linesplit' : 'not ready · linesplit';
}

function setBadge(id, state, text) {
  const badge = byId(id);
  badge.querySelector('use').setAttribute('href', `#sign-${state}`);
  badge.className = `badge ${state}`;
  setText(badge.lastElementChild, text);
}

function showLedger(s) {
  byId('ledger-section').hidden = !s.ledger;
  if (!s.ledger) return;
  const l = s.ledger;
  const tile = (label, amount, more = {}) => ({ label, value: count(amount.lines), note: bytes(amount.bytes), ...more });
  const reasons = (l.dropped_by ?? []).filter((by) => by.lines > 0).map((by) => `${by.reason} ${count(by.lines)}`);
  fillList(byId('ledger'), [
    tile('Received', l.received),
    tile('Confirmed', l.confirmed, { operator: '=' }),
    ...(l.rejected.lines > 0 ? [tile('Rejected', l.rejected, { operator: '+', className: 'attention' })] : []),
    tile('In flight', l.retained, { operator: '+' }),
    tile('Queued', l.queued, { operator: '+' }),
    tile('Dropped', l.dropped, {
      operator: '+',
      note: [bytes(l.dropped.bytes), ...reasons].join(' · '),
      className: l.dropped.lines > 0 ? 'attention' : '',
    }),
    tile('Sent', l.sent, { className: 'apart' }),
    tile('Acknowledged', l.acknowledged),
    tile('Resent', l.resent, { note: resentNote(l) }),
  ]);
}

function resentNote(l) {
  const parts = [bytes(l.resent.bytes)];
  if (l.resent.lines > 0) parts.push('may have arrived twice');
  if (l.truncated_lines > 0) parts.push(`${count(l.truncated_lines)} truncated`);
  if (l.altered_lines > 0) parts.push(`${count(l.altered_lines)} altered`);
  return parts.join(' · ');
}

// showSpool shows the files that keep lines, if there are any.
function showSpool(s) {
  byId('spool-section').hidden = !s.spool;
  if (!s.spool) return;
  const p = s.spool;
  const amount = (a) => `${plural(a.lines, 'line')}, ${bytes(a.bytes)}`;
  const size = p.unscanned_bytes > 0 ? `${bytes(p.unscanned_bytes)} of them not counted yet` : '';
  const groups = p.groups.length > 1 ? p.groups : [];
  setText(byId('spool-where'), p.directory);
  fillList(byId('spool'), [
    {
      label: 'Size', value: `${bytes(p.bytes)} of ${bytes(p.limit_bytes)}`, part: p.limit_bytes > 0 ? p.bytes / p.limit_bytes : 0,
      note: p.full ? 'full' : size, className: p.full ? 'attention' : '',
    },
    { label: 'Unconfirmed', value: amount(p.unconfirmed) },
    { label: 'Age of the oldest line', value: p.oldest ? between(p.oldest, s) : '–' },
    { label: 'Time to empty', value: timeToEmpty(p), note: p.unconfirmed.lines > 0 ? 'at the present rate' : '' },
    { label: 'Read back', value: amount(sumOfAmounts(p.groups.map((g) => g.replayed))) },
    ...groups.map((g) => ({ label: `Waiting for ${g.name}`, value: amount(g.waiting) })),
    ...faultsOf(p),
  ]);
}

function timeToEmpty(p) {
  if (p.unconfirmed.lines === 0) return 'empty';
  return p.empty_seconds ? duration(p.empty_seconds) : 'never';
}

const sumOfAmounts = (all) => all.reduce((sum, a) => ({ lines: sum.lines + a.lines, bytes: sum.bytes + a.bytes }), { lines: 0, bytes: 0 });

// faultsOf lists what has gone wrong with the spool since the start of linesplit.
function faultsOf(p) {
  const items = [];
  const add = (label, value, note = '') => items.push({ label, value, note, className: 'attention' });
  if (p.dropped.lines > 0) add('Dropped to make room', plural(p.dropped.lines, 'line'), bytes(p.dropped.bytes));
  if (p.quarantined_frames > 0) add('Damaged, not delivered', plural(p.quarantined.lines, 'line'), plural(p.quarantined_frames, 'frame'));
  if (p.orphaned.lines > 0) add('For groups that no longer exist', plural(p.orphaned.lines, 'line'), bytes(p.orphaned.bytes));
  if (p.faults > 0) add('Faults', count(p.faults), p.last_fault ?? '');
  return items;
}

function showClients(s) {
  const t = s.totals;
  const refused = (t.refused ?? []).filter((by) => by.count > 0);
  const items = [
    { label: 'Connected now', value: count(t.connections), note: t.waiting > 0 ? `${count(t.waiting)} waiting for a slot` : '' },
    { label: 'Accepted', value: count(t.accepted), note: s.rates.accepted > 0 ? `${short(s.rates.accepted)}/s` : '' },
    { label: 'Refused', value: count(refused.reduce((sum, by) => sum + by.count, 0)), note: refused.map((by) => `${by.reason} ${count(by.count)}`).join(' · ') },
    { label: 'Cut off', value: count(t.cut_off) },
    { label: 'Accept and TLS errors', value: `${count(t.accept_errors)} and ${count(t.handshake_errors)}` },
    { label: 'Received', value: bytes(t.received_bytes) },
  ];
  if (s.mode === 'connection') items.push({ label: 'Sent', value: bytes(t.sent_bytes) });
  fillList(byId('clients'), items);
}

function showLimits(s) {
  const used = (label, now, limit, format, note) => ({ label, value: `${format(now)} of ${format(limit)}`, part: now / limit, note });
  const items = [];
  const l = s.limits;
  if (l.memory_limit_bytes > 0) items.push(used('Memory for lines', l.memory_bytes, l.memory_limit_bytes, bytes));
  if (l.queue_capacity_buffers > 0) {
    const full = l.queue_buffers >= l.queue_capacity_buffers;
    items.push(used('Queue, in buffers', l.queue_buffers, l.queue_capacity_buffers, count, full ? 'full: senders wait' : ''));
  }
  if (s.keys) {
    const moving = s.keys.moving > 0 ? `${(100 * s.keys.moving).toFixed(0)} % of them are moving, ${plural(s.keys.waiting.lines, 'line waits', 'lines wait')} for that` : '';
    items.push({ label: 'Keys', value: s.keys.rule, note: moving });
  }
  if (l.max_connections > 0) items.push(used('Clients', s.totals.connections, l.max_connections, count));
  else items.push({ label: 'Clients', value: `${count(s.totals.connections)}, no limit` });
  fillList(byId('limits'), items);
}

// ---- targets ------------------------------------------------------------------------------------

// A column has a label, builds its cell once, and fills it from a target and the status that
// contains it.
const cellOfText = (name, label, fill, className = 'number') => ({ name, label, className, build: twoLines, fill: (cell, t, s) => setTwoLines(cell, ...fill(t, s)) });

function twoLines(cell) {
  cell.append(make('span', 'value'), make('span', 'note'));
}

function setTwoLines(cell, value, note = '') {
  setText(cell.children[0], value);
  setText(cell.children[1], note);
}

const nameColumn = { ...cellOfText('name', 'Target', (t) => [t.name, historyOf(t)], ''), header: true };

function historyOf(t) {
  const parts = [];
  if (t.lines) {
    parts.push(`${count(t.lines.sent.lines)} sent`, `${count(t.lines.acknowledged.lines)} acknowledged`, `${count(t.lines.confirmed.lines)} confirmed`);
    if (t.lines.resent.lines > 0) parts.push(`${count(t.lines.resent.lines)} resent`);
    if (t.lines.failovers > 0) parts.push(plural(t.lines.failovers, 'failover'));
    if (t.lines.stalls > 0) parts.push(plural(t.lines.stalls, 'stall'));
    if (t.lines.lanes?.queued.lines > 0) parts.push(`${count(t.lines.lanes.queued.lines)} queued`);
    if (t.group) parts.push(`group ${t.group}`);
    if (t.lines.weight !== 1) parts.push(`weight ${t.lines.weight}`);
    if (t.lines.backup) parts.push('backup');
  }
  if (t.forward) {
    parts.push(`weight ${t.forward.weight}`);
    if (t.forward.backup) parts.push('backup');
    parts.push(`${plural(t.forward.total, 'connection')} so far`);
  }
  if (t.from?.length > 0) parts.push(`from ${t.from.join(', ')}`);
  return parts.join(' · ');
}

const stateColumn = {
  name: 'state',
  label: 'State',
  build: (cell) => cell.append(make('span', 'state', sign('unknown'), make('span')), make('span', 'note')),
  fill: (cell, t, s) => {
    cell.querySelector('use').setAttribute('href', `#sign-${signOf(t.state)}`);
    cell.firstChild.className = `state ${signOf(t.state)}`;
    setText(cell.firstChild.lastChild, t.state);
    setText(cell.lastChild, [t.since ? `for ${between(t.since, s)}` : '', fullLanes(t, s)].filter(Boolean).join(' · '));
  },
};

// fullLanes says that a target's keys hold up their senders.
function fullLanes(t, s) {
  const lanes = t.lines?.lanes;
  if (!lanes?.full) return '';
  return `${plural(lanes.full, 'lane')} full for ${between(lanes.full_since, s)}: senders wait`;
}

const knownStates = ['up', 'down', 'draining', 'drained'];
const signOf = (state) => (knownStates.includes(state) ? state : 'unknown');

const shareColumn = {
  name: 'share',
  label: 'Share',
  className: 'number',
  build: (cell) => cell.append(make('span', 'share', make('span', 'value'), bar())),
  fill: (cell, t) => {
    setText(cell.firstChild.firstChild, `${(100 * t.rates.share).toFixed(0)} %`);
    setBar(cell.firstChild.lastChild, t.rates.share);
  },
};

const latencyColumn = cellOfText('latency', 'Latency', (t) => [latency(t.latency_seconds), t.checks_failed > 0 ? `${plural(t.checks_failed, 'check')} failed` : '']);

// errorOf omits the target's own name, which the row shows already.
function errorOf(t) {
  const prefix = `dial target ${t.name}: `;
  const text = t.last_error ?? '';
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

const errorColumn = {
  name: 'error',
  label: 'Last error',
  className: 'problem',
  build: twoLines,
  fill: (cell, t, s) => {
    const notes = [];
    if (t.last_error && t.last_error_at) notes.push(`${between(t.last_error_at, s)} ago`);
    if (t.dial_errors > 0) notes.push(`${plural(t.dial_errors, 'failed dial')}`);
    setTwoLines(cell, errorOf(t) || '–', notes.join(' · '));
    cell.classList.toggle('none', !t.last_error && notes.length === 0);
  },
};

const actColumn = {
  name: 'act',
  label: '',
  className: 'act',
  build: (cell, name) => {
    const button = make('button');
    button.type = 'button';
    button.addEventListener('click', () => act(button, name));
    cell.append(button);
  },
  fill: (cell, t) => {
    const verb = isOut(t) ? 'resume' : 'drain';
    const button = cell.firstChild;
    button.dataset.verb = verb;
    setText(button, verb === 'drain' ? 'Drain' : 'Resume');
    button.setAttribute('aria-label', `${button.textContent} ${t.name}`);
  },
};

const isOut = (t) => t.state === 'draining' || t.state === 'drained';

const columns = {
  line: [
    nameColumn, stateColumn, shareColumn,
    cellOfText('rate', 'Rate', (t) => [`${short(t.rates.lines)} lines/s`, bytesPerSecond(t.rates.bytes)]),
    latencyColumn,
    cellOfText('window', 'Window', (t) => [plural(t.lines.retained.lines, 'line'), bytes(t.lines.retained.bytes)]),
    cellOfText('connections', 'Connections', (t) => [count(t.connections)]),
    errorColumn, actColumn,
  ],
  connection: [
    nameColumn, stateColumn, shareColumn,
    cellOfText('rate', 'Rate', (t) => [`to ${bytesPerSecond(t.rates.bytes)}`, `from ${bytesPerSecond(t.rates.received_bytes)}`]),
    latencyColumn,
    cellOfText('connections', 'Connections', (t) => [
      t.forward.max_connections > 0 ? `${count(t.connections)} of ${count(t.forward.max_connections)}` : count(t.connections),
      `${short(t.rates.connections)} new/s`,
    ]),
    errorColumn, actColumn,
  ],
};

const head = byId('table').tHead.rows[0];
const rows = byId('table').tBodies[0];
const rowOf = new Map(); // by the target's name. Rows are reused, so that a button keeps the focus.
let tableMode = null;

function showTargets(s) {
  const targets = s.targets ?? [];
  if (tableMode !== s.mode) beginTable(s.mode);
  const names = new Set(targets.map((t) => t.name));
  for (const [name, row] of rowOf) {
    if (names.has(name)) continue;
    row.remove();
    rowOf.delete(name);
  }
  targets.forEach((t, i) => {
    if (!rowOf.has(t.name)) rowOf.set(t.name, buildRow(t.name, s.mode));
    const row = rowOf.get(t.name);
    if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i] ?? null);
    fillRow(row, t, s);
  });
  setText(byId('targets-sum'), `${sumOf(targets)} · rates are 10-second averages`);
  showSources(s);
}

// showSources lists the sources of targets, if there are any.
function showSources(s) {
  const sources = s.sources ?? [];
  const list = byId('sources');
  list.hidden = sources.length === 0;
  while (list.children.length > sources.length) list.lastChild.remove();
  while (list.children.length < sources.length) list.append(make('div', '', make('dt'), make('dd')));
  sources.forEach((source, i) => {
    setText(list.children[i].firstChild, source.name);
    setText(list.children[i].lastChild, stateOfSource(source, s));
  });
}

function stateOfSource(source, s) {
  const parts = [plural(source.targets, 'target')];
  if (source.group) parts.push(`group ${source.group}`);
  parts.push(source.last_answer_at ? `answered ${between(source.last_answer_at, s)} ago` : 'has not answered yet');
  if (source.failing) parts.push(`failing: ${source.last_error}`);
  else if (source.last_error) parts.push(`last error ${between(source.last_error_at, s)} ago: ${source.last_error}`);
  return parts.join(' · ');
}

function beginTable(mode) {
  tableMode = mode;
  rowOf.clear();
  rows.replaceChildren();
  head.replaceChildren(...columns[mode].map((column) => {
    const cell = make('th', column.className, column.label || make('span', 'unseen', 'Action'));
    cell.scope = 'col';
    cell.setAttribute('role', 'columnheader');
    return cell;
  }));
}

function buildRow(name, mode) {
  const row = make('tr');
  row.setAttribute('role', 'row');
  row.dataset.target = name;
  for (const column of columns[mode]) {
    const cell = make(column.header ? 'th' : 'td', column.className);
    cell.setAttribute('role', column.header ? 'rowheader' : 'cell');
    cell.dataset.column = column.name;
    if (column.header) cell.scope = 'row';
    else if (column.label) cell.dataset.label = column.label;
    column.build(cell, name);
    row.append(cell);
  }
  return row;
}

function fillRow(row, t, s) {
  row.className = `is-${signOf(t.state)}`;
  columns[s.mode].forEach((column, i) => column.fill(row.children[i], t, s));
}

function sumOf(targets) {
  const counts = new Map();
  for (const t of targets) counts.set(t.state, (counts.get(t.state) ?? 0) + 1);
  return [...counts].map(([state, n]) => `${n} ${state}`).join(', ') || 'none';
}

// ---- changes ------------------------------------------------------------------------------------

let shown = null; // the last status

// noteChanges lists the differences from the previous status, except those of numbers, which change
// all the time.
function noteChanges(before, s) {
  if (!before) return;
  if (before.started !== s.started) note(s, 'drained', 'linesplit was restarted');
  if (before.ready !== s.ready) note(s, s.ready ? 'up' : 'down', s.ready ? 'ready' : `not ready${s.reason ? `: ${s.reason}` : ''}`);
  if (before.spool && s.spool && before.spool.full !== s.spool.full) note(s, s.spool.full ? 'down' : 'up', s.spool.full ? 'the spool is full' : 'the spool has room again');
  const old = new Map((before.targets ?? []).map((t) => [t.name, t]));
  for (const t of s.targets ?? []) {
    const was = old.get(t.name);
    old.delete(t.name);
    if (!was) note(s, signOf(t.state), `${t.name} was added`);
    else if (was.state !== t.state) note(s, signOf(t.state), `${t.name} is ${t.state}${t.state === 'down' && t.last_error ? `: ${errorOf(t)}` : ''}`);
  }
  for (const name of old.keys()) note(s, 'drained', `${name} was removed`);
  const failing = new Map((before.sources ?? []).map((source) => [source.name, source.failing]));
  for (const source of s.sources ?? []) {
    if (failing.get(source.name) === source.failing) continue;
    if (source.failing) note(s, 'down', `${source.name} fails: ${source.last_error}`);
    else if (failing.has(source.name)) note(s, 'up', `${source.name} answers again`);
  }
}

function note(s, state, text) {
  const list = byId('changes');
  const time = make('time', '', clock.format(Date.parse(s.now)));
  time.dateTime = s.now;
  const mark = make('span', `state ${state}`, sign(state));
  list.prepend(make('li', '', make('span', '', time, ' ', mark), make('span', '', text)));
  while (list.children.length > maxChanges) list.lastChild.remove();
  byId('no-changes').hidden = true;
}

// ---- actions ------------------------------------------------------------------------------------

let token = ''; // only held here: it disappears with the page

// ask sends a request and returns the JSON of the answer. If the answer is a problem document, it
// throws an Error with its text.
async function ask(method, path) {
  return request(method, apiOf(service) + path);
}

async function request(method, url) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(url, { method, headers, cache: 'no-store' });
  } catch {
    throw problem('No answer', 'linesplit cannot be reached');
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw problem(body?.title ?? `Status ${answer.status}`, body?.detail ?? 'the answer has no details', answer.status);
  return body;
}

function problem(title, detail, status = 0) {
  return Object.assign(new Error(detail), { title, status });
}

async function act(button, name) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  const { verb } = button.dataset;
  if (verb === 'drain' && !(await isMeant(name))) return;
  button.setAttribute('aria-disabled', 'true');
  try {
    const t = await ask('POST', `targets/${encodeURIComponent(name)}/${verb}`);
    tell(verb === 'drain' ? `${name} gets nothing new: it is ${t.state}` : `${name} is in use again: it is ${t.state}`);
  } catch (err) {
    tellProblem(err);
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

// isMeant asks for confirmation before draining the last target that is up: lines, or clients,
// would have to wait.
function isMeant(name) {
  const others = (shown.targets ?? []).filter((t) => t.name !== name && t.state === 'up');
  if (others.length > 0) return Promise.resolve(true);
  const dialog = byId('confirm');
  byId('confirm-text').textContent = `No other target is up. Without ${name}, ${shown.mode === 'line' ? 'lines and senders wait' : 'clients find no target'} until a target is resumed.`;
  return new Promise((resolve) => {
    settleConfirm(false); // answers an earlier question whose close event has not come yet
    answerConfirm = resolve;
    dialog.returnValue = '';
    dialog.showModal();
  });
}

let answerConfirm = null; // resolves the question of the dialog; null: there is none

function settleConfirm(yes) {
  answerConfirm?.(yes);
  answerConfirm = null;
}

// confirmClosed takes the answer. Browsers send close events late: one that comes while the dialog
// is open belongs to an earlier question.
function confirmClosed() {
  const dialog = byId('confirm');
  if (!dialog.open) settleConfirm(dialog.returnValue === 'yes');
}

async function useToken(event) {
  event.preventDefault();
  token = byId('token').value.trim();
  try {
    await ask('GET', 'connections?limit=1'); // changes nothing, and needs the token
  } catch (err) {
    token = '';
    tellProblem(err);
    return;
  }
  byId('token').value = '';
  showToken();
  byId('token-forget').focus();
  tell('Token accepted');
}

function forgetToken() {
  token = '';
  showToken();
  byId('token').focus();
}

function showToken() {
  byId('token-form').hidden = token !== '';
  byId('token-given').hidden = token === '';
}

let hideMessage = 0; // a timer

function tell(text) {
  showMessage(false, 'message-status', text);
  hideMessage = setTimeout(closeMessage, 8000);
}

// tellProblem shows a message until it is closed. If the token is missing or wrong, it moves the
// focus to the token's field.
function tellProblem(err) {
  showMessage(true, 'message-alert', make('strong', '', err.title ?? 'Error'), err.message);
  if (err.status !== 401) return;
  token = '';
  showToken();
  byId('token').focus();
  byId('token').select();
}

function showMessage(failed, id, ...content) {
  closeMessage();
  byId('message').hidden = false;
  byId('message').classList.toggle('failed', failed);
  byId(id).replaceChildren(...content);
}

function closeMessage() {
  clearTimeout(hideMessage);
  byId('message').hidden = true;
  byId('message-alert').replaceChildren();
  byId('message-status').replaceChildren();
}

// ---- services -----------------------------------------------------------------------------------

let service = ''; // the one that the page shows; empty: the only one

const apiOf = (name) => (name ? `${api}services/${encodeURIComponent(name)}/` : api);

// look reads the list of services, and shows another one if that of the page is gone.
async function look() {
  let all;
  try {
    all = (await request('GET', `${api}services`)).services;
  } catch {
    return; // the page says so itself
  }
  const names = all.map((s) => s.service ?? '');
  const wanted = [decodeURIComponent(location.hash.slice(1)), service, names[0]].find((name) => names.includes(name)) ?? '';
  if (!names[0]) clearInterval(looking); // a process without named services never has any
  byId('services').hidden = names.length < 2;
  showServices(all, wanted);
  if (wanted !== service) show(wanted);
}

function show(name) {
  service = name;
  shown = null;
  samples = [];
  document.body.classList.add('waiting');
  if (source) connect();
}

function showServices(all, current) {
  const list = byId('services-list');
  const labels = all.map((s) => s.service ?? '').join('\n');
  if (list.dataset.labels !== labels) {
    list.dataset.labels = labels;
    list.replaceChildren(...all.map((s) => make('li', '', serviceLink(s.service ?? ''))));
  }
  all.forEach((s, i) => {
    const link = list.children[i].firstChild;
    const state = s.draining ? 'draining' : s.ready ? 'up' : 'down';
    link.querySelector('use').setAttribute('href', `#sign-${state}`);
    link.className = `state ${state}`;
    link.title = s.ready ? 'ready' : s.reason ?? 'not ready';
    if (s.service === current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  });
}

function serviceLink(name) {
  const link = make('a', '', sign('unknown'), make('span', '', name));
  link.href = `#${encodeURIComponent(name)}`;
  return link;
}

// ---- the stream ---------------------------------------------------------------------------------

let source = null;
let openedAt = 0; // by performance.now, like takenAt
let takenAt = 0; // when the last status came
let trouble = ''; // why no status comes
let polling = 0; // a timer

function take(s, how) {
  takenAt = performance.now();
  trouble = '';
  remember(s);
  noteChanges(shown, s);
  shown = s;
  document.body.classList.remove('waiting');
  showHead(s);
  showLedger(s);
  showSpool(s);
  showTargets(s);
  showClients(s);
  showLimits(s);
  drawCharts();
  showAge(how);
}

function connect() {
  clearTimeout(polling);
  source?.close();
  openedAt = performance.now();
  source = new EventSource(`${apiOf(service)}events`);
  source.addEventListener('open', recall);
  source.addEventListener('status', (event) => take(JSON.parse(event.data), 'live'));
  source.addEventListener('error', () => {
    // Unless the stream is closed, the browser reconnects on its own.
    if (source.readyState === EventSource.CLOSED) poll();
  });
}

// poll replaces a stream that linesplit refused, for example because too many are open, and finds
// out why.
async function poll() {
  const of = service;
  try {
    const s = await ask('GET', 'status');
    if (of === service) take(s, 'every 2 s');
  } catch (err) {
    trouble = err.message;
  }
  const again = performance.now() - openedAt > 2 * reconnectAfter ? connect : poll;
  polling = setTimeout(again, 2000);
}

// showAge shows whether the values on the page are current.
function showAge(how) {
  const age = performance.now() - takenAt;
  const stale = age > staleAfter;
  const changed = document.body.classList.contains('is-stale') !== stale;
  document.body.classList.toggle('is-stale', stale);
  byId('stale').hidden = !stale;
  if (stale) {
    const since = shown ? `This page shows the state at ${clock.format(Date.parse(shown.now))}, ${duration(age / 1000)} ago.` : 'There is nothing to show yet.';
    setText(byId('stale-text'), `No data${trouble ? `: ${trouble}` : ''}. ${since} Retrying.`);
    setBadge('link', 'down', 'no data');
    setBadge('readiness', 'unknown', 'unknown');
    if (changed) document.title = 'no data · linesplit';
  } else if (how) {
    setBadge('link', 'up', how);
  }
  if (changed) say(stale ? 'No data any more; the page shows old values' : 'Data arrives again');
}

// watch reconnects a stream that is open but silent, for example after the computer slept or the
// network went away.
function watch() {
  showAge();
  const now = performance.now();
  if (!source) return;
  const silent = now - takenAt > reconnectAfter && now - openedAt > reconnectAfter;
  if (silent && source.readyState !== EventSource.CLOSED) connect();
}

// ---- start --------------------------------------------------------------------------------------

figures.forEach(listenToChart);
const resized = new ResizeObserver(drawCharts);
document.querySelectorAll('.charts').forEach((charts) => resized.observe(charts));
byId('token-form').addEventListener('submit', useToken);
byId('token-forget').addEventListener('click', forgetToken);
byId('message-close').addEventListener('click', closeMessage);
byId('confirm').addEventListener('close', confirmClosed);
byId('confirm-yes').addEventListener('click', () => byId('confirm').close('yes'));
byId('confirm-no').addEventListener('click', () => byId('confirm').close('no'));
const looking = setInterval(look, servicesEvery);
addEventListener('hashchange', look);
look().finally(connect);
setInterval(watch, 1000);
