package accept

import (
	"context"
	"net"
	"time"
)

// Server serves one listener from the first connection to the end of the last. All fields but Room
// and Stopping are needed.
type Server struct {
	Listener net.Listener
	Start    func(net.Conn) // takes each connection and does not block
	Failed   func(error)    // told of each failure of Accept that is retried
	Wait     func()         // returns when all connections have ended; called once no more are accepted

	// Room waits until one more connection may be accepted. It returns false if soft ends first.
	// nil means that there is always room.
	Room func(soft context.Context) bool
	// Stopping makes a waiting Room look at soft again. It is called when soft has ended.
	Stopping func()

	// Drain asks the connections to end and returns how long they may take.
	Drain func() time.Duration
	// CutOff ends the connections that are left when that time has passed. It does not block.
	CutOff func()
	// Abort closes all connections at once. It is called when hard has ended.
	Abort func()
}

// Serve accepts connections until soft ends, accepts those that wait in the backlog, closes the
// listener and drains. When hard ends, it aborts. It returns when all connections have ended, with
// the listener closed. The error is that of [Loop.Run].
func (s *Server) Serve(soft, hard context.Context) error {
	soft, cancel := context.WithCancel(soft)
	defer cancel()
	defer s.Listener.Close()
	loop := Loop{Listener: s.Listener, Soft: soft, Hard: hard, Start: s.Start, Failed: s.Failed}
	if s.Room != nil {
		loop.Room = func() bool { return s.Room(soft) }
	}
	abort := After(hard, func() { cancel(); s.Listener.Close(); s.Abort() })
	defer abort()
	lastCall := After(soft, func() {
		if s.Stopping != nil {
			s.Stopping()
		}
		loop.LastCall()
	})
	err := loop.Run()
	lastCall()

	ended := make(chan struct{})
	go func() { defer close(ended); s.Wait() }()
	select {
	case <-ended:
	case <-soft.Done():
		s.Listener.Close()
		Drain(hard, ended, s.Drain(), s.CutOff)
		<-ended
	}
	return err
}

// Drain waits until everything has ended, and calls cutOff if that takes longer than limit. It
// returns at once when hard ends.
func Drain(hard context.Context, ended <-chan struct{}, limit time.Duration, cutOff func()) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ended:
	case <-hard.Done():
	case <-t.C:
		cutOff()
	}
}
