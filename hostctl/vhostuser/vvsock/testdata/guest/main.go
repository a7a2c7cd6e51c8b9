// Command guest is the first process of the guest in which the vsock device is tested: it loads the vsock modules and
// serves a few ports until the machine is reset.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cidHost = 2

// services are the ports served; see the functions.
var services = map[uint32]func(io.ReadWriteCloser){
	1: echo,
	2: sink,
	3: source,
	4: dialBack,
	5: discard,
	6: slam,
	9: reboot,
}

func main() {
	if err := boot(); err != nil {
		fmt.Printf("guest: %v\n", err)
	}
	for port, serve := range services {
		if err := listen(port, serve); err != nil {
			fmt.Printf("guest: listen on %d: %v\n", port, err)
		}
	}
	for _, name := range []string{"echo", "bulk"} {
		if f := serialPort(name); f != nil {
			go serveSerial(f, services[map[string]uint32{"echo": 1, "bulk": 5}[name]])
		}
	}
	fmt.Println("guest: ready")
	select {}
}

func boot() error {
	for target, kind := range map[string]string{"/dev": "devtmpfs", "/proc": "proc", "/sys": "sysfs"} {
		_ = os.MkdirAll(target, 0o755)
		if err := unix.Mount(kind, target, kind, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	for _, name := range []string{"vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"} {
		if err := load(name + ".ko"); err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

func load(file string) error {
	path := ""
	_ = filepath.WalkDir("/lib/modules", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == file {
			path = p
		}
		return nil
	})
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}

func listen(port uint32, serve func(io.ReadWriteCloser)) error {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return err
	}
	go func() {
		for {
			c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK)
			if err != nil {
				fmt.Printf("guest: accept: %v\n", err)
				continue
			}
			go serve(socket{os.NewFile(uintptr(c), "vsock"), c})
		}
	}()
	return nil
}

type socket struct {
	*os.File
	fd int
}

// CloseWrite half-closes.
func (s socket) CloseWrite() error { return unix.Shutdown(s.fd, unix.SHUT_WR) }

// echo returns what it gets until the end, and then ends too.
func echo(c io.ReadWriteCloser) {
	defer c.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sink reads to the end and then, the other direction being open still, answers "length sha256".
func sink(c io.ReadWriteCloser) {
	defer c.Close()
	h := sha256.New()
	n, err := io.Copy(h, c)
	fmt.Fprintf(c, "%d %x %v\n", n, h.Sum(nil), err)
}

// discard reads records, each an 8-byte length and that many bytes, and acknowledges each with one byte; a length with the
// top bit set asks for that many bytes instead.
func discard(c io.ReadWriteCloser) {
	defer c.Close()
	buf := make([]byte, 256<<10)
	for {
		if _, err := io.ReadFull(c, buf[:8]); err != nil {
			return
		}
		n := int64(binary.LittleEndian.Uint64(buf))
		var err error
		if give := n < 0; give {
			err = produce(c, n&(1<<62-1), buf)
		} else if _, err = io.CopyBuffer(io.Discard, io.LimitReader(struct{ io.Reader }{c}, n), buf); err == nil {
			_, err = c.Write(buf[:1])
		}
		if err != nil {
			return
		}
	}
}

func produce(w io.Writer, n int64, buf []byte) error {
	for n > 0 {
		k, err := w.Write(buf[:min(n, int64(len(buf)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// source reads an 8-byte length, writes so many bytes of a sequence, half-closes, and waits for the other's end.
func source(c io.ReadWriteCloser) {
	defer c.Close()
	var b [8]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return
	}
	left := binary.LittleEndian.Uint64(b[:])
	buf := make([]byte, 60000)
	for seq := byte(0); left > 0; seq++ {
		n := min(left, uint64(len(buf)))
		for i := range buf[:n] {
			buf[i] = byte(i*7) + seq
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
		left -= n
	}
	_ = c.(socket).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// dialBack reads a port number and a line of text, connects to that port of the host, sends the text, and returns the answer
// or the error.
func dialBack(c io.ReadWriteCloser) {
	defer c.Close()
	var port uint32
	var text string
	if _, err := fmt.Fscanf(c, "%d %s\n", &port, &text); err != nil {
		return
	}
	answer, err := ask(port, text)
	if err != nil {
		answer = "error: " + err.Error()
	}
	fmt.Fprintln(c, strings.TrimSpace(answer))
}

func ask(port uint32, text string) (string, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: cidHost, Port: port}); err != nil {
		return "", err
	}
	if _, err := unix.Write(fd, []byte(text+"\n")); err != nil {
		return "", err
	}
	var buf [256]byte
	n, err := unix.Read(fd, buf[:])
	return string(buf[:max(n, 0)]), err
}

// slam closes at once, with unread data.
func slam(c io.ReadWriteCloser) { c.Close() }

// reboot resets the machine under everybody's feet.
func reboot(io.ReadWriteCloser) { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

// serveSerial serves a serial port, which is at its end whenever nobody is connected on the host.
func serveSerial(f *os.File, serve func(io.ReadWriteCloser)) {
	for ; ; time.Sleep(10 * time.Millisecond) {
		serve(keepOpen{f})
	}
}

type keepOpen struct{ io.ReadWriter }

func (keepOpen) Close() error { return nil }

// serialPort opens the virtio-serial port of that name, if there is one.
func serialPort(name string) *os.File {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, n := range names {
		b, _ := os.ReadFile(n)
		if strings.TrimSpace(string(b)) != name {
			continue
		}
		f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_RDWR, 0)
		if err == nil {
			return f
		}
	}
	return nil
}
