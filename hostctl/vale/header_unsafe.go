package vale

import "unsafe"

const rawHeader = int(unsafe.Sizeof(Header{}))

// raw returns the header as bytes. Moved whole, it is one or two stores; field by field it is six, and the next one to look
// at the header as a whole has to wait until all of them have left the store buffer.
func (h *Header) raw() *[rawHeader]byte { return (*[rawHeader]byte)(unsafe.Pointer(h)) }
