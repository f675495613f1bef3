package veth

import (
	"net"
	"strings"
	"testing"
)

func testNamespace(t *testing.T) *Namespace {
	t.Helper()
	n, err := New()
	if err != nil {
		t.Skip("needs a network namespace: ", err)
	}
	t.Cleanup(n.Close)
	return n
}

func TestOffloadsAndMTUAreSetAtBothEnds(t *testing.T) {
	n := testNamespace(t)
	for on, want := range map[bool]string{true: "tso gso gro; tso gso gro", false: "none; none"} {
		if err := n.SetOffloads(on); err != nil {
			t.Fatal(err)
		}
		if got, err := n.Offloads(); err != nil || got != want {
			t.Errorf("offloads = %q, %v, want %q", got, err, want)
		}
	}
	if err := n.SetMTU(1400); err != nil {
		t.Fatal(err)
	}
	near, err := net.InterfaceByName(n.Device)
	if err != nil || near.MTU != 1400 {
		t.Errorf("our end: %+v, %v", near, err)
	}
	var far *net.Interface
	n.Do(func() { far, err = net.InterfaceByName(FarDevice) })
	if err != nil || far.MTU != 1400 {
		t.Errorf("far end: %+v, %v", far, err)
	}
}

func TestOffloadsOfAMissingDeviceAreAnError(t *testing.T) {
	n := testNamespace(t)
	if err := IP("link", "delete", n.Device); err != nil {
		t.Fatal(err)
	}
	if err := n.SetOffloads(false); err == nil || !strings.Contains(err.Error(), "ethtool -K "+n.Device+" tso 0: ") {
		t.Errorf("error = %v", err)
	}
}
