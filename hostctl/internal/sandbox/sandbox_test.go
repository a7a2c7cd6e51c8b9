package sandbox

import (
	"testing"
	"time"
)

func TestExitCode(t *testing.T) {
	t0 := time.Now()
	s, err := Start(t.Context(), Spec{Root: "/", Entry: "code", Payload: []byte{7}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(t0))
	code, err := s.Wait()
	if code != 7 || err != nil {
		t.Fatalf("code %d, %v", code, err)
	}
}
