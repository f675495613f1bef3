// Package children starts programs and reaps all other children of the process. A process has
// children that it did not start where it is PID 1 of a container, to which the kernel hands every
// orphan, or where the shell that started it in the background had started something before its
// exec. Unless they are reaped, they stay as zombies and use up the container's process numbers.
package children

import (
	"os/exec"
	"sync"
)

// registry tells the programs that were started here from other children.
type registry struct {
	changed chan struct{} // holds a value when reap may find more than before

	mu       sync.Mutex
	starting int          // programs whose process number is not known yet
	own      map[int]bool // programs that Wait has not returned for, by process number
}

// started is the one registry, as the kernel knows only one set of children.
var started = registry{changed: make(chan struct{}, 1), own: map[int]bool{}}

// Start is cmd.Start for a program whose exit status Reap must leave alone. After a success the
// caller calls Wait.
func Start(cmd *exec.Cmd) error { return started.start(cmd) }

// Wait is cmd.Wait for a program that Start has started.
func Wait(cmd *exec.Cmd) error { return started.wait(cmd) }

// start does not hold mu while the program starts: where its file is on a disk that does not
// answer, that takes for ever.
func (r *registry) start(cmd *exec.Cmd) error {
	r.mu.Lock()
	r.starting++
	r.mu.Unlock()
	err := cmd.Start()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting--
	if err == nil {
		r.own[cmd.Process.Pid] = true
	}
	r.change()
	return err
}

func (r *registry) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.own, cmd.Process.Pid)
	r.change()
	return err
}

func (r *registry) change() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Group makes a program that is about to start the leader of a process group of its own, so that
// KillGroup reaches what it has started. The end of cmd's context calls KillGroup.
func Group(cmd *exec.Cmd) {
	setGroup(cmd)
	cmd.Cancel = func() error { return KillGroup(cmd) }
}
