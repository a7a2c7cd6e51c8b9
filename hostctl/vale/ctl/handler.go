package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"picolab/hostctl/vale"
)

// Switches is what can be worked.
type Switches interface {
	Attach(name, port string) error // port is a text, whatever the switches understand
	Detach(name string) error
	Status() []Status
	Set(name string, settings Settings) error
}

// Status is a switch's.
type Status struct {
	Name string `json:"name"`
	vale.Stats
}

// Settings change a port. What is absent stays.
type Settings struct {
	Up     *bool        `json:"up,omitempty"`
	Rate   *uint64      `json:"rate,omitempty"`  // bits per second from the port, 0 for no limit
	Burst  int          `json:"burst,omitempty"` // bytes, with Rate
	Faults *vale.Faults `json:"faults,omitempty"`
}

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 1 << 16

// Handler serves the requests of the package comment.
func Handler(s Switches) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Status()) // nobody to tell when the peer is gone
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_ = WriteMetrics(w, s.Status())
	})
	mux.HandleFunc("POST /attach", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Attach(r.FormValue("name"), r.FormValue("port")))
	})
	mux.HandleFunc("POST /detach", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Detach(r.FormValue("name")))
	})
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) { answer(w, set(s, w, r)) })
	return mux
}

func set(s Switches, w http.ResponseWriter, r *http.Request) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	var settings Settings
	if err := d.Decode(&settings); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	return s.Set(r.URL.Query().Get("name"), settings)
}

func answer(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, vale.ErrUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}
