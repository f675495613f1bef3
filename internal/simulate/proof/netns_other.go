//go:build !linux

package proof

import "errors"

type island struct{ host string }

func newIsland() (*island, error) { return nil, errors.New("network namespaces are Linux's") }

func (*island) do(f func()) { f() }
func (*island) cut() error  { return nil }
func (*island) mend() error { return nil }
func (*island) close()      {}
