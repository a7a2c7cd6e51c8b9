// Package catalogue runs the test cases of the seed documents.
//
// A [Case] is data and one function, in the manner of Go's own tests: the data
// says where the case comes from, what lab it wants and what it varies over; the
// function is written against endpoints (t.Host(), t.Guest("a")) and says with
// [T.Check] what it expected and what it got.  The cases live in one folder a
// suite; [Set] collects them.
//
// A run has three steps, each a pure function of the one before except the last:
// [Set.Select] picks cases and expands their matrices into instances, [NewPlan]
// orders these so that instances of one topology share a booted lab, [Plan.Run]
// runs them.
//
// What a bad end is called depends on whose it is.  The guest's is FAIL: a check
// that did not hold, a request the guest's kernel refused, an oops on its
// console.  Ours is ERROR: QEMU, the agent's connection, the host side of the
// lab, a case that asks for what its own data does not have.
package catalogue
