package proof

import (
	"os"

	"linesplit/internal/veth"
)

// blackHoleMAC is a link-layer address that no device has: what is sent to it is silently
// dropped.
const blackHoleMAC = "02:00:5e:00:53:ff"

// netns is a network namespace for a target, whose link to this machine's network can be cut.
type netns struct {
	*veth.Namespace
	targetIP string // address in the namespace
}

// orphanRetries is the setting that limits how often a socket without a process retransmits its
// FIN. The default of 8 would keep a namespace alive for minutes while the link is cut.
const orphanRetries = "/proc/sys/net/ipv4/tcp_orphan_retries" // in the namespace of the thread

// newNetns needs root and the program ip. The caller closes the namespace.
func newNetns() (*netns, error) {
	v, err := veth.New()
	if err != nil {
		return nil, err
	}
	n := &netns{v, v.FarIP}
	n.do(func() { err = os.WriteFile(orphanRetries, []byte("1"), 0) })
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *netns) do(f func()) { n.Do(f) }

func (n *netns) close() { n.Close() }

// cut drops all packets in both directions, as if a cable were cut: both ends stay up, and
// nothing answers.
func (n *netns) cut() error {
	err := veth.IP("neighbour", "replace", n.FarIP, "lladdr", blackHoleMAC, "dev", n.Device, "nud", "permanent")
	if err != nil {
		return err
	}
	n.do(func() {
		err = veth.IP("neighbour", "replace", n.NearIP, "lladdr", blackHoleMAC, "dev", veth.FarDevice, "nud", "permanent")
	})
	return err
}

// restore undoes cut: each end resolves the other's address again.
func (n *netns) restore() error {
	err := veth.IP("neighbour", "delete", n.FarIP, "dev", n.Device)
	if err != nil {
		return err
	}
	n.do(func() { err = veth.IP("neighbour", "delete", n.NearIP, "dev", veth.FarDevice) })
	return err
}
