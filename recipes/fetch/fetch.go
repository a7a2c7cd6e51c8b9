// Package fetch is the content-addressed store of downloaded files, and the only way into it: bounded, resumable
// downloads over HTTP (RFC 9110: ranges in section 14) that are verified before they get their final name.
//
// The store is sha256/ab/abcd...; what is not complete is in part/ of the same file system. A file under its final name
// has been hashed, synced and renamed, so several processes may share a store, and a crash or a full disk leaves
// nothing half-written there. The package also knows which mirror to ask; see [Mirror].
package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Limits of one download. Retries are for the network's faults only: what the mirror states clearly is final.
const (
	defaultJobs = 4
	attempts    = 5                // tries of one file
	firstDelay  = time.Second / 2  // before the second try; doubles each time
	headTimeout = 30 * time.Second // from the request to the answer's header
	idleTimeout = 60 * time.Second // without any data
	redirects   = 5
)

// Options of [Store.Fetch]. The zero value works.
type Options struct {
	Jobs     int       // parallel downloads, default 4
	Progress *Progress // nil is silent
}

// An Item is one file to have: where it is, and what it must be.
type Item struct {
	Name   string // for messages, e.g. "libc6 2.41-12"
	URL    string // absolute, http or https
	Size   int64  // exact, in bytes
	SHA256 string // 64 hex digits
}

// A GoneError says that the mirror does not have a file (any more): HTTP 404 or 410.
type GoneError struct {
	Name, URL string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("fetch %s: the mirror does not have %s (any more)", e.Name, e.URL)
}

// Fetch makes sure that every item is in the store, and downloads what is missing. It ends with the first error that
// retries did not mend; files that were complete by then stay. A *GoneError means that the mirror has dropped a file.
func (s *Store) Fetch(ctx context.Context, items []Item, o Options) error {
	missing, err := s.missing(items)
	if err != nil || len(missing) == 0 {
		return err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	o.Progress.start(missing)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(max(0, o.Jobs), defaultJobs))
	for _, item := range missing {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			d := download{store: s, client: client, item: item, progress: o.Progress}
			return d.run(ctx)
		})
	}
	err = group.Wait()
	o.Progress.stop()
	return err
}

// missing returns the items that are not in the store, each file once.
func (s *Store) missing(items []Item) ([]Item, error) {
	var out []Item
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		if err := checkDigest(item.SHA256); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", item.Name, err)
		}
		if item.Size < 0 {
			return nil, fmt.Errorf("fetch %s: size %d", item.Name, item.Size)
		}
		if !seen[item.SHA256] && !s.Has(item.SHA256, item.Size) {
			out = append(out, item)
		}
		seen[item.SHA256] = true
	}
	return out, nil
}

// Get reads one small file from the network, such as an InRelease, with the same retries as Fetch. More than limit bytes
// is an error. The result is not verified: that is the caller's task.
func Get(ctx context.Context, name, url string, limit int64, p *Progress) ([]byte, error) {
	client := newClient()
	defer client.CloseIdleConnections()
	var data []byte
	err := retry(ctx, p, func() error {
		ctx, idle := withIdleTimeout(ctx, idleTimeout)
		defer idle.stop()
		resp, err := request(ctx, client, name, url, 0)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		data, err = io.ReadAll(io.LimitReader(idle.reader(resp.Body), limit+1))
		if err != nil {
			return &trouble{fmt.Errorf("read %s: %w", url, idle.cause(err))}
		}
		if int64(len(data)) > limit {
			return fmt.Errorf("read %s: more than %d bytes, refused", url, limit)
		}
		return nil
	})
	return data, err
}

// trouble is an error that another try may mend.
type trouble struct{ error }

func (t *trouble) Unwrap() error { return t.error }

// retry runs f until it succeeds, fails for good, or has been tried often enough.
func retry(ctx context.Context, p *Progress, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		var t *trouble
		if err == nil || !errors.As(err, &t) || ctx.Err() != nil {
			return orContext(ctx, err)
		}
		if n == attempts {
			return fmt.Errorf("%w (tried %d times)", t.error, n)
		}
		delay := firstDelay << (n - 1)
		p.Logf("%v; again in %v (%d of %d)", t.error, delay, n+1, attempts)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
	}
}

// orContext prefers the reason of a cancellation to the error that it made somewhere below.
func orContext(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// newClient returns a client that asks for files as they are: compressed transfer would change sizes and hashes.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.ResponseHeaderTimeout = headTimeout
	transport.MaxIdleConnsPerHost = 2 * defaultJobs
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > redirects {
		return fmt.Errorf("more than %d redirects", redirects)
	}
	if scheme := req.URL.Scheme; scheme != "https" && (scheme != "http" || via[0].URL.Scheme == "https") {
		return fmt.Errorf("redirect from %s to %s refused", via[0].URL.Scheme, scheme)
	}
	return nil
}

// request asks for a file from an offset on, and sorts the answers: body, gone, trouble, refused. A 416 for an offset is
// returned as an answer, since the download can start again.
func request(ctx context.Context, client *http.Client, name, address string, offset int64) (*http.Response, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("fetch %s: %q is not an http or https URL", name, address)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", name, err)
	}
	req.Header.Set("User-Agent", "picolab")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := client.Do(req)
	if err != nil {
		if strings.Contains(err.Error(), "redirect") {
			return nil, fmt.Errorf("fetch %s: %w", name, err)
		}
		return nil, &trouble{fmt.Errorf("fetch %s: %w", name, err)}
	}
	if err := checkStatus(resp, name, address, offset); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func checkStatus(resp *http.Response, name, address string, offset int64) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK, offset > 0 && (code == http.StatusPartialContent || code == http.StatusRequestedRangeNotSatisfiable):
		return nil
	case code == http.StatusNotFound, code == http.StatusGone:
		return &GoneError{Name: name, URL: address}
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return &trouble{fmt.Errorf("fetch %s: %s says %s", name, address, resp.Status)}
	default:
		return fmt.Errorf("fetch %s: %s says %s", name, address, resp.Status)
	}
}
