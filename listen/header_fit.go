package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
)

// fitFamilies returns a header of version 1 whose addresses are of one family. nginx names the
// family of one address and writes the other as it is: "TCP6 2001:db8::1 192.0.2.2 …" where it
// listens on IPv4 and knows an IPv6 client by another proxy. The source address counts. A
// destination of the other family becomes the unspecified address. Any other line is returned as it
// is.
func fitFamilies(line []byte) []byte {
	fields := strings.Split(string(line), " ")
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return line
	}
	source, sourceErr := netip.ParseAddr(fields[2])
	destination, destinationErr := netip.ParseAddr(fields[3])
	if sourceErr != nil || destinationErr != nil || source.Is4() == destination.Is4() {
		return line
	}
	source, destination = source.Unmap(), destination.Unmap()
	family, unspecified := "TCP6", netip.IPv6Unspecified()
	if source.Is4() {
		family, unspecified = "TCP4", netip.IPv4Unspecified()
	}
	if source.Is4() != destination.Is4() {
		destination = unspecified
	}
	fields[1], fields[2], fields[3] = family, source.String(), destination.String()
	return []byte(strings.Join(fields, " "))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkCRC returns an error if a complete header of version 2 has a checksum that is wrong. The
// checksum is optional; it covers the whole header with its own four bytes as zeros.
func checkCRC(header []byte) error {
	const typeAndLength, size = 3, 4
	for at := addressEnd(header); at+typeAndLength <= len(header); {
		length := int(binary.BigEndian.Uint16(header[at+1:]))
		value := at + typeAndLength
		switch {
		case header[at] != byte(proxyproto.PP2_TYPE_CRC32C):
		case length != size || value+size > len(header):
			return errors.New("a checksum that is not of four bytes")
		default:
			sent := binary.BigEndian.Uint32(header[value:])
			sum := crc32.Update(0, castagnoli, header[:value])
			sum = crc32.Update(sum, castagnoli, make([]byte, size))
			sum = crc32.Update(sum, castagnoli, header[value+size:])
			if sum != sent {
				return fmt.Errorf("the header's checksum is %08x and should be %08x", sent, sum)
			}
			return nil
		}
		at = value + length
	}
	return nil
}

// addressEnd returns the position after the addresses of a header of version 2, where its optional
// parts begin.
func addressEnd(header []byte) int {
	lengths := [...]int{0, 12, 36, 216} // by address family
	if family := int(header[13] >> 4); family < len(lengths) {
		return fixedV2 + lengths[family]
	}
	return len(header)
}
