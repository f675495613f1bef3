package acked

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"linesplit/linebuf"
)

// listenRaw returns the address of a listener that calls handle with each connection.
func listenRaw(t *testing.T, handle func(conn io.ReadWriteCloser)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return ln.Addr().String()
}

// documents returns the IDs and the documents of a bulk request.
func (r request) documents(t *testing.T) (ids, docs []string) {
	t.Helper()
	lines := r.lines()
	if len(lines)%2 != 0 {
		t.Fatalf("%d lines", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			} `json:"create"`
		}
		must(t, json.Unmarshal([]byte(lines[i]), &action))
		ids, docs = append(ids, action.Create.ID), append(docs, lines[i+1])
	}
	return ids, docs
}

// answerBulk answers with an item for each status.
func answerBulk(w io.Writer, statuses []int) {
	io.WriteString(w, `{"took":1,"errors":true,"items":[`)
	for i, status := range statuses {
		if i > 0 {
			io.WriteString(w, ",")
		}
		fmt.Fprintf(w, `{"create":{"_index":"x","status":%d,"error":{"type":"t","reason":"r%d"}}}`, status, status)
	}
	io.WriteString(w, `]}`)
}

// Only items with the status 429 or 5xx go again, with the IDs that they had. 409 means that an
// earlier request has created the document; other 4xx that it never will be.
func TestBulk(t *testing.T) {
	stored := map[string]string{}
	n := 0
	s := serve(t, func(w http.ResponseWriter, r request) {
		ids, docs := r.documents(t)
		n++
		var statuses []int
		for i, id := range ids {
			_, twice := stored[id]
			switch {
			case twice:
				statuses = append(statuses, 409)
			case strings.HasPrefix(docs[i], "bad"):
				statuses = append(statuses, 400)
			case n < 3 && i%5 == 0:
				statuses = append(statuses, 429)
			case n < 3 && i%5 == 1:
				statuses = append(statuses, 503)
			case n == 1 && i == 7: // stored, and reported as if it were not
				stored[id] = docs[i]
				statuses = append(statuses, 500)
			default:
				stored[id] = docs[i]
				statuses = append(statuses, 201)
			}
		}
		answerBulk(w, statuses)
	})
	c := s.dial(t, "http+bulk", "/logs/_bulk")
	lines := numbered(0, 100)
	lines[50] = "bad"
	b := buffer(lines...)
	write(t, c, b, false)
	p := waitFor(t, c, acknowledged(len(b.B)))
	if p.Err != nil || p.RejectedLines != 1 || p.RejectedBytes != 4 || len(stored) != 99 {
		t.Errorf("%+v, %d stored", p, len(stored))
	}
	var docs []string
	for _, d := range stored {
		docs = append(docs, d)
	}
	slices.Sort(docs)
	if docs = slices.Compact(docs); len(docs) != 99 {
		t.Errorf("%d documents", len(docs))
	}
}

// An answer that does not account for each line is none.
func TestBulkAnswersThatFail(t *testing.T) {
	for body, want := range map[string]string{
		"":                                      "EOF",
		"[]":                                    "no JSON object",
		`{"took":1}`:                            "no items",
		`{"items":{}}`:                          "no array",
		`{"items":[{"create":{"status":201}}]}`: "1 items for 2 lines",
		`{"items":[{"create":{"status":201}},{"create":{"status":201}},{"create":{"status":201}}]}`:                    "more than 2",
		`{"items":[{"create":{"status":201}},{"create":{"status":0}}]}`:                                                "status 0",
		`{"items":[{"create":{"status":201}},{}]}`:                                                                     "0 actions",
		`{"items":[{"create":{"status":201}},{"create":{"status":201},"index":{"status":201}}]}`:                       "2 actions",
		`{"items":[{"create":{"status":201}},`:                                                                         "EOF",
		`{"items":[1,2]}`:                                                                                              "cannot unmarshal",
		`{"items":[{"create":{"status":201}},{"create":{"status":201,"x":"` + strings.Repeat("x", maxAnswer+3*maxItem): "more than 1 items",
	} {
		s := serve(t, func(w http.ResponseWriter, _ request) { io.WriteString(w, body) })
		c := s.dial(t, "http+bulk", "/_bulk")
		b := buffer("a", "b")
		write(t, c, b, false)
		p := waitFor(t, c, failed)
		if !strings.Contains(p.Err.Error(), want) || p.Known != 0 {
			t.Errorf("%.80s: %v, want %s", body, p.Err, want)
		}
	}
}

// Whatever a server answers, each line of the request is delivered, refused, or sent again, unless
// the answer is not valid.
func FuzzBulkAnswer(f *testing.F) {
	f.Add(`{"items":[{"create":{"status":201}},{"create":{"status":429}},{"create":{"status":400,"error":{"a":1}}}]}`)
	f.Add(`{"took":[{}],"items":[{"create":{"status":409}},{"create":{"status":599}},{"index":{"status":404}}],"x":1}`)
	f.Add(`{"items":[]}`)
	f.Fuzz(func(t *testing.T, answer string) {
		b := &Batch{}
		b.add([]byte("a\nbb\nccc\n"), linebuf.Run{First: linebuf.Mark{Source: 1}, Lines: 3})
		p := b.All()
		a, err := judgeBulk(p, strings.NewReader(answer))
		if err != nil {
			return
		}
		lines := a.again.count + len(a.refused)
		if lines > 3 || bytes.Count(a.again.lines, newline) != a.again.count {
			t.Errorf("%d lines of 3: %+v", lines, a)
		}
		for _, r := range a.refused {
			if r.Lines != 1 || bytes.IndexByte(r.Bytes, '\n') != len(r.Bytes)-1 || !bytes.Contains(p.Bytes, r.Bytes) {
				t.Errorf("refused %q", r.Bytes)
			}
			if r.ID() == p.ID() {
				t.Error("one line has the ID of all")
			}
		}
	})
}

// Of a batch whose answer is too long, one half is sent after the other.
func TestLongBulkAnswers(t *testing.T) {
	stored := map[string]bool{}
	s := serve(t, func(w http.ResponseWriter, r request) {
		ids, _ := r.documents(t)
		var statuses []int
		for _, id := range ids {
			status := 201
			if stored[id] {
				status = 409
			}
			stored[id] = true
			statuses = append(statuses, status)
		}
		var b strings.Builder
		answerBulk(&b, statuses)
		io.WriteString(w, strings.ReplaceAll(b.String(), "reason", strings.Repeat("reason", 1000)))
	})
	c := s.dial(t, "http+bulk", "/_bulk")
	b := buffer(numbered(0, 1000)...)
	write(t, c, b, false)
	if p := waitFor(t, c, acknowledged(len(b.B))); p.Err != nil || len(stored) != 1000 || len(s.requests()) < 10 {
		t.Errorf("%v, %d documents, %d requests", p.Err, len(stored), len(s.requests()))
	}
}
