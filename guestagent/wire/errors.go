package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is a failed call as both sides see it.
type Error struct {
	Code  Code
	Errno syscall.Errno // 0 when the kernel had no say
	Msg   string

	cause error // on the side where it happened
}

// Errorf makes an Error; an errno wrapped by an argument is kept.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Msg: err.Error(), cause: err}
	errors.As(err, &e.Errno)
	return e
}

func (e *Error) Error() string { return e.Msg }

// Unwrap makes errors.Is(err, syscall.ENODEV) and errors.Is(err, fs.ErrNotExist) work across the connection.
func (e *Error) Unwrap() error {
	if e.cause == nil && e.Errno != 0 {
		return e.Errno
	}
	return e.cause
}

// CodeOf classifies any error of this module; UNKNOWN when it is not one of ours.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Code_UNKNOWN
}

// Classify turns any error of a verb into an Error: ours stay, kernel errors become the endpoint's fault, the rest
// internal.
func Classify(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Errno: e.Errno, Msg: err.Error(), cause: err}
	}
	e = &Error{Code: classOf(err), Msg: err.Error(), cause: err}
	errors.As(err, &e.Errno)
	return e
}

func classOf(err error) Code {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Code_NOT_FOUND
	case errors.Is(err, context.DeadlineExceeded):
		return Code_DEADLINE
	case errors.Is(err, context.Canceled):
		return Code_LOST
	case errors.Is(err, syscall.ENODEV):
		return Code_NOT_FOUND
	case errors.Is(err, errors.ErrUnsupported):
		return Code_UNSUPPORTED
	case errors.As(err, &errno):
		return Code_GUEST
	}
	return Code_INTERNAL
}

// grpcCodes is how a Code shows in a ttrpc status, for tools that do not know ErrorDetail.
var grpcCodes = [...]codes.Code{
	Code_UNKNOWN:     codes.Unknown,
	Code_REFUSED:     codes.PermissionDenied,
	Code_NOT_FOUND:   codes.NotFound,
	Code_TOO_BIG:     codes.ResourceExhausted,
	Code_DEADLINE:    codes.DeadlineExceeded,
	Code_UNSUPPORTED: codes.Unimplemented,
	Code_GUEST:       codes.Aborted,
	Code_INTERNAL:    codes.Internal,
	Code_INVALID:     codes.InvalidArgument,
	Code_LOST:        codes.Unavailable,
}

// ToStatus encodes a verb's error for ttrpc. nil stays nil.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	e := Classify(err)
	st := status.New(grpcCodes[e.Code], strings.ToValidUTF8(e.Msg, "\ufffd")) // a file's name may be anything
	if d, err := st.WithDetails(&ErrorDetail{Code: e.Code, Errno: int32(e.Errno)}); err == nil {
		st = d
	}
	return st.Err()
}

// FromStatus decodes what a ttrpc call returned. nil stays nil; a broken connection becomes LOST.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ttrpc.ErrClosed) {
		return &Error{Code: Code_LOST, Msg: "connection to the agent lost"}
	}
	st, ok := status.FromError(err)
	if !ok {
		return Classify(err)
	}
	e := &Error{Code: fromGRPC(st.Code()), Msg: st.Message()}
	for _, d := range st.Details() {
		if d, ok := d.(*ErrorDetail); ok {
			e.Code, e.Errno = d.Code, syscall.Errno(d.Errno)
		}
	}
	return e
}

func fromGRPC(c codes.Code) Code {
	for code, g := range grpcCodes {
		if g == c {
			return Code(code)
		}
	}
	return Code_UNKNOWN
}
