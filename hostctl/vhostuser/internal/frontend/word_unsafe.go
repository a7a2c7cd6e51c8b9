package frontend

import "unsafe"

// word returns the aligned word at b[off].
func word(b []byte, off int) *uint32 {
	return (*uint32)(unsafe.Pointer(unsafe.SliceData(b[off : off+4])))
}
