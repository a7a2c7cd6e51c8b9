package lab

import (
	"encoding/binary"
	"fmt"
)

// A swap area as mkswap(8) makes it (Linux, include/linux/swap.h, union swap_header): the first page has the version, the
// number of the last page and, at its end, the signature. Label and UUID stay zero.
const (
	swapPage      = 4096 // bytes, of x86
	swapVersion   = 1024 // offset of a 32-bit 1
	swapLast      = 1028 // offset of the 32-bit number of the last page
	swapMagic     = "SWAPSPACE2"
	swapSmallest  = 10 * swapPage
	swapLastLimit = 1<<32 - 1
)

// swapHeader is the first page of a swap area of size bytes.
func swapHeader(size int64) ([]byte, error) {
	last := size/swapPage - 1
	if size < swapSmallest || last > swapLastLimit {
		return nil, fmt.Errorf("make swap area: %d bytes are not between %d and %d", size, swapSmallest, int64(swapPage)*(swapLastLimit+1))
	}
	page := make([]byte, swapPage)
	binary.LittleEndian.PutUint32(page[swapVersion:], 1)
	binary.LittleEndian.PutUint32(page[swapLast:], uint32(last))
	copy(page[swapPage-len(swapMagic):], swapMagic)
	return page, nil
}
