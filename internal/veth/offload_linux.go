package veth

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offload is a feature of a device that moves packets larger than the MTU.
type offload struct {
	name     string
	get, set uint32 // commands of SIOCETHTOOL, from linux/ethtool.h
}

var offloads = []offload{
	{"tso", 0x1e, 0x1f},
	{"gso", 0x23, 0x24},
	{"gro", 0x2b, 0x2c},
}

// SetOffloads switches segmentation and reassembly (tso, gso, gro) by both devices on or off. With
// all of them off, each packet on the link is as large as the MTU at most.
func (n *Namespace) SetOffloads(on bool) error {
	value := uint32(0)
	if on {
		value = 1
	}
	return n.bothEnds(func(device string) error {
		for _, o := range offloads {
			if _, err := ethtool(device, o.set, value); err != nil {
				return fmt.Errorf("ethtool -K %s %s %d: %w", device, o.name, value, err)
			}
		}
		return nil
	})
}

// Offloads describes which offloads are on at the two ends, such as "tso gso; tso gso gro" or
// "none; none", our end first.
func (n *Namespace) Offloads() (string, error) {
	var ends []string
	err := n.bothEnds(func(device string) error {
		var on []string
		for _, o := range offloads {
			value, err := ethtool(device, o.get, 0)
			if err != nil {
				return fmt.Errorf("ethtool -k %s %s: %w", device, o.name, err)
			}
			if value != 0 {
				on = append(on, o.name)
			}
		}
		if on == nil {
			on = []string{"none"}
		}
		ends = append(ends, strings.Join(on, " "))
		return nil
	})
	return strings.Join(ends, "; "), err
}

// SetMTU sets the size of the largest packet on the link, in bytes.
func (n *Namespace) SetMTU(bytes int) error {
	return n.bothEnds(func(device string) error { return IP("link", "set", device, "mtu", fmt.Sprint(bytes)) })
}

// bothEnds calls f for our device and, in the namespace, for the far one.
func (n *Namespace) bothEnds(f func(device string) error) error {
	if err := f(n.Device); err != nil {
		return err
	}
	var err error
	n.Do(func() { err = f(FarDevice) })
	return err
}

// ethtool runs a command that reads or writes one number, in the network namespace of the calling
// thread.
func ethtool(device string, command, value uint32) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	data := struct{ command, value uint32 }{command, value}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte // struct ifreq has a union of 24 bytes
	}{data: unsafe.Pointer(&data)}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return 0, errno
	}
	return data.value, nil
}
