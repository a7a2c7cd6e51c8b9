package lab

import (
	"testing"
	"time"
)

func TestTimeout(t *testing.T) {
	tests := []struct {
		wait    Wait
		accel   string
		nesting int
		want    time.Duration
	}{
		{WaitHello, AccelKVM, 0, 4 * time.Second},
		{WaitHello, AccelTCG, 0, 40 * time.Second},
		{WaitHello, AccelTCG, 1, 400 * time.Second},
		{WaitHello, AccelKVM, 1, 400 * time.Second},
		{WaitStart, AccelTCG, 0, 10 * time.Second},
		{WaitStart, AccelTCG, 1, 100 * time.Second},
		{WaitOops, AccelTCG, 0, 500 * time.Millisecond},
	}
	for _, tt := range tests {
		if got := Timeout(tt.wait, tt.accel, tt.nesting); got != tt.want {
			t.Errorf("Timeout(%s, %s, %d) = %v, want %v", tt.wait, tt.accel, tt.nesting, got, tt.want)
		}
	}
}

// A verdict about a crash must come within a second of its first line.
func TestOopsIsQuick(t *testing.T) {
	if got := Timeout(WaitOops, AccelTCG, 0); got >= time.Second {
		t.Errorf("waiting %v for the rest of a crash report", got)
	}
}

func TestTimeoutUnknown(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an unknown kind got a timeout")
		}
	}()
	Timeout("tea", AccelKVM, 0)
}
