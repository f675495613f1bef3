package workerpool

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"linesplit/target"
)

// MaxConnections is the most connections to one target that a weight can give it.
const MaxConnections = 1024

var errOwnNumber = errors.New("its ?connections is its share: give it a ?weight in place of that")

// Shares returns how many connections each of the targets has, where connections is the number for
// each of them on average. A target with Address.Connections has that number. Each of the others
// has connections × its weight / the mean of their weights, rounded, at least 1 and at most
// MaxConnections. Backups share among themselves in the same way, since they serve in place of the
// others.
func Shares(targets []target.Address, connections int) []int {
	var sum, n [2]int64 // of those that are no backups, and of backups
	for _, a := range targets {
		if a.Connections == 0 {
			sum[class(a)] += int64(a.Share())
			n[class(a)]++
		}
	}
	shares := make([]int, len(targets))
	for i, a := range targets {
		if shares[i] = a.Connections; shares[i] == 0 {
			c := class(a)
			share := (2*int64(connections)*int64(a.Share())*n[c] + sum[c]) / (2 * sum[c])
			shares[i] = int(min(max(share, 1), MaxConnections))
		}
	}
	return shares
}

// KeyWeights returns the share of the keys that each of the targets gets, relative to the others of
// its kind, backups or not. That is its weight, exactly and not rounded to whole connections, so
// that a change of one weight moves no key between the others. A target with Address.Connections
// counts as if it had the weight that gives it as many.
func KeyWeights(targets []target.Address, connections int) []float64 {
	var sum, n [2]float64 // of those with a weight: that are no backups, and of backups
	for _, a := range targets {
		if a.Connections == 0 {
			sum[class(a)] += float64(a.Share())
			n[class(a)]++
		}
	}
	weights := make([]float64, len(targets))
	for i, a := range targets {
		weights[i] = float64(a.Share())
		if a.Connections > 0 {
			mean := 1.0
			if c := class(a); n[c] > 0 {
				mean = sum[c] / n[c]
			}
			weights[i] = mean * float64(a.Connections) / float64(connections)
		}
	}
	return weights
}

func class(a target.Address) int {
	if a.Backup {
		return 1
	}
	return 0
}

// SetWeight changes a target's share of the connections. Connections that this adds anywhere are
// opened at once, and those that it takes away are left in order: nothing is lost and nothing goes
// twice. The error wraps target.ErrUnknown or ErrEnding, or says what is wrong with the weight.
func (p *Pool) SetWeight(name string, weight int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.findLocked(name)
	switch {
	case err != nil:
	case weight < 1 || weight > target.MaxWeight:
		err = fmt.Errorf("weight %d: use a number from 1 to %d", weight, target.MaxWeight)
	case b.address.Connections > 0:
		err = errOwnNumber
	}
	if err != nil {
		return fmt.Errorf("set weight of target %s: %w", name, err)
	}
	b.address.Weight = weight
	p.shareOutLocked()
	return nil
}

// Addresses returns the targets that are not being removed, with the weights in force.
func (p *Pool) Addresses() (all []target.Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		if !b.removing {
			all = append(all, b.address)
		}
	}
	return all
}

// Lists reports whether there is a target of that name, being removed or not.
func (p *Pool) Lists(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.namedLocked(name) != nil
}

// setSharesLocked notes how many workers each target should have, and which share of the keys. One
// that is being removed keeps its workers until they end.
func (p *Pool) setSharesLocked() {
	var staying []*backend
	var addresses []target.Address
	for _, b := range p.backends {
		if !b.removing {
			staying, addresses = append(staying, b), append(addresses, b.address)
		}
	}
	weights := KeyWeights(addresses, p.o.Connections)
	for i, share := range Shares(addresses, p.o.Connections) {
		staying[i].wantWorkers, staying[i].keyWeight = share, weights[i]
	}
	p.updateSettingsLocked()
}

// shareOutLocked gives each target as many workers as it should have.
func (p *Pool) shareOutLocked() {
	p.setSharesLocked()
	workers := make(map[*backend][]*worker, len(p.backends)) // by their homes
	for _, w := range p.workers {
		workers[w.home] = append(workers[w.home], w)
	}
	for _, b := range p.backends {
		p.adjustWorkersLocked(b, workers[b])
	}
	p.startWorkersLocked(p.backends...)
	p.publishWorkersLocked()
	p.assignLocked()
}

// adjustWorkersLocked lets the newest of a target's workers end that it has too many of, or all if
// it is being removed.
func (p *Pool) adjustWorkersLocked(home *backend, workers []*worker) {
	for i, w := range workers {
		w.surplus = !home.removing && i >= home.wantWorkers
		if !w.surplus || w.lane == nil { // a lane is left first, see leaveSurplusLanesLocked
			w.machine.SetWanted(!w.surplus)
		}
		if leaves := home.removing || w.surplus; w.leaves.Swap(leaves) != leaves {
			w.nudge(time.Now())
		}
	}
}

// wantedLocked returns how many workers there are to be, those that end not counted.
func (p *Pool) wantedLocked() (n int) {
	for _, b := range p.backends {
		n += b.wantWorkers
	}
	return n
}

// publishWorkersLocked lets the clock and the outlets know which workers there are. In the list of
// the outlets the workers of each target are spread evenly, so that going through it gives each
// target its share, and workers of backups that rest are left out.
func (p *Pool) publishWorkersLocked() {
	all := slices.Clone(p.workers)
	p.running.Store(&all)
	place := make(map[*worker]int, len(all)) // among the workers of the same home
	count := make(map[*backend]int)
	offered := make([]*worker, 0, len(all))
	for _, w := range all {
		if w.surplus || p.resting && w.home.Target.Address.Backup {
			continue
		}
		offered = append(offered, w)
		place[w] = 2*count[w.home] + 1
		count[w.home]++
	}
	slices.SortStableFunc(offered, func(a, b *worker) int { // by place/count
		return cmp.Compare(place[a]*count[b.home], place[b]*count[a.home])
	})
	p.offered.Store(&offered)
}

// updateResting takes the workers of backups from the outlets, or gives them back, when the backups
// rest, or no longer do.
func (p *Pool) updateResting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if resting := p.shared.Backends().PrimaryUp(); resting != p.resting {
		p.resting = resting
		p.publishWorkersLocked()
	}
}
