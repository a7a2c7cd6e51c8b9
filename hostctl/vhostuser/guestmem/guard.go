package guestmem

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// ErrFault means that a page of the guest's memory was gone when it was touched: the front-end shrank its file.
var ErrFault = errors.New("guest memory fault")

// Guard calls fn and returns its error, or ErrFault when fn touched guest memory that is gone. Any other panic goes on.
// After ErrFault fn has been left half way: drop the connection that the memory belongs to.
//
// Only faults in Go code arrive here; system calls that are given such memory return EFAULT instead.
func Guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = faultError(r)
		}
	}()
	return fn()
}

// faultError tells a memory fault (the runtime gives it an address) from other panics, which it raises again.
func faultError(r any) error {
	if e, ok := r.(runtime.Error); ok {
		if a, ok := r.(interface{ Addr() uintptr }); ok && a.Addr() != 0 {
			return fmt.Errorf("%w: %v", ErrFault, e)
		}
	}
	panic(r)
}
