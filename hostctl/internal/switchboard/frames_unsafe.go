package switchboard

import (
	"unsafe"

	"picolab/hostctl/vale"
	"picolab/hostctl/vhostuser/vnet"
)

// asVnet gives frames of vale as frames of vnet, which are laid out alike: a header of the same fields and the data. Go has
// no such conversion for slices.
func asVnet(frames []vale.Frame) []vnet.Frame {
	return unsafe.Slice((*vnet.Frame)(unsafe.Pointer(unsafe.SliceData(frames))), len(frames))
}

// These do not compile when the layouts differ.
const (
	_ = -(unsafe.Sizeof(vale.Frame{}) ^ unsafe.Sizeof(vnet.Frame{}))
	_ = -(unsafe.Offsetof(vale.Frame{}.Data) ^ unsafe.Offsetof(vnet.Frame{}.Data))
	_ = -(unsafe.Offsetof(vale.Frame{}.Header) ^ unsafe.Offsetof(vnet.Frame{}.Header))
)

var _ = vale.Header(vnet.Header{}) // nor when the headers' fields do
