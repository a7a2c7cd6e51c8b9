package netperf

import (
	"context"
	"fmt"
	"math"
)

// Repeat says how often a test is done. The zero value is once.
type Repeat struct {
	Level      int     // of confidence: 95 or 99 percent; 0: no confidence is aimed at
	Width      float64 // of the interval, percent of the mean: 5 is the mean ± 2.5 %
	Min, Max   int     // iterations, 1 to 30
	ResultOnly bool    // CPU use need not be as sure
}

// Confidence is how sure the mean of several tests is. Widths are percent of the mean; -1 where nothing was measured.
type Confidence struct {
	Level       int       `json:"level_percent"`
	Wanted      float64   `json:"wanted_width_percent"`
	Iterations  int       `json:"iterations"`
	Reached     bool      `json:"reached"`
	Throughput  float64   `json:"throughput_width_percent"`
	LocalCPU    float64   `json:"local_cpu_width_percent"`
	RemoteCPU   float64   `json:"remote_cpu_width_percent"`
	Throughputs []float64 `json:"each"` // bits or transactions a second
}

// student holds the quantiles of Student's t for 1 to 29 degrees of freedom, two-sided, at 95 and 99 percent.
var student = map[int][29]float64{
	95: {
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
		2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
	},
	99: {
		63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947,
		2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756,
	},
}

// check finds what cannot be done.
func (r *Repeat) check() error {
	switch {
	case r.Level != 0 && r.Level != 95 && r.Level != 99:
		return fmt.Errorf("confidence level %d: only 95 and 99", r.Level)
	case r.Level != 0 && r.Width <= 0:
		return fmt.Errorf("confidence interval %v %%: must be above 0", r.Width)
	case r.Min < 0 || r.Max > 30 || r.Min > r.Max:
		return fmt.Errorf("iterations %d to %d: 1 to 30", r.Min, r.Max)
	}
	return nil
}

// interval is the mean of a sample and the width of its confidence interval in percent of the mean; -1 when the sample
// is too small or not measured.
func interval(level int, sample []float64) (mean, width float64) {
	n := float64(len(sample))
	for _, v := range sample {
		mean += v / n
	}
	if len(sample) < 2 || mean <= 0 {
		return mean, -1
	}
	var squares float64
	for _, v := range sample {
		squares += (v - mean) * (v - mean)
	}
	quantiles := student[level]
	t := quantiles[min(len(sample)-1, len(quantiles))-1]
	return mean, 100 * 2 * t * math.Sqrt(squares/(n-1)/n) / mean
}

// Measure does a test as often as rep says, on one control connection, and returns the mean of the results that have
// one (throughput, rates, elapsed time, CPU use) with the rest of the last. A confidence that is not reached is no
// error: see Result.Confidence.
func Measure(ctx context.Context, cfg *Config, rep Repeat) (*Result, error) {
	if err := rep.check(); err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c, err := Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all := new(latencies)
	var runs []*Result
	for {
		r, err := c.run(ctx, cfg, all)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		if mean := average(runs, &rep); len(runs) >= max(rep.Max, 1) || len(runs) >= max(rep.Min, 1) && mean.Confidence.done(&rep) {
			return mean, nil
		}
	}
}

// done says whether no more iterations are needed.
func (c *Confidence) done(rep *Repeat) bool {
	return c == nil || c.Reached || rep.Level == 0
}

// average is the mean of results; its confidence is nil when it is of one that was to be one.
func average(runs []*Result, rep *Repeat) *Result {
	out := *runs[len(runs)-1]
	if len(runs) == 1 && rep.Level == 0 {
		return &out
	}
	level := max(rep.Level, 95)
	take := func(f func(*Result) *float64) float64 {
		sample := make([]float64, len(runs))
		for i, r := range runs {
			sample[i] = *f(r)
		}
		mean, width := interval(level, sample)
		*f(&out) = mean
		return width
	}
	c := &Confidence{Level: rep.Level, Wanted: rep.Width, Iterations: len(runs)}
	take(func(r *Result) *float64 { return &r.Elapsed })
	take(func(r *Result) *float64 { return &r.Local.Demand })
	take(func(r *Result) *float64 { return &r.Remote.Demand })
	c.Throughput = take(func(r *Result) *float64 { return &r.Throughput })
	if out.spec.Direction == RR {
		c.Throughput = take(func(r *Result) *float64 { return &r.TransactionRate })
	}
	c.LocalCPU = take(func(r *Result) *float64 { return &r.Local.CPU.Total })
	c.RemoteCPU = take(func(r *Result) *float64 { return &r.Remote.CPU.Total })
	for _, r := range runs {
		c.Throughputs = append(c.Throughputs, r.rate())
	}
	sure := func(width float64) bool { return width >= 0 && width <= rep.Width }
	cpu := func(u *Utilization, width float64) bool { return rep.ResultOnly || !u.measured() || sure(width) }
	c.Reached = sure(c.Throughput) && cpu(&out.Local.CPU, c.LocalCPU) && cpu(&out.Remote.CPU, c.RemoteCPU)
	out.Confidence = c
	return &out
}

// rate is the result of a test: transactions or bits a second.
func (r *Result) rate() float64 {
	if r.spec.Direction == RR {
		return r.TransactionRate
	}
	return r.Throughput
}
