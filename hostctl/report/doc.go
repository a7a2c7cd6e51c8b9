// Package report is the result model of a catalogue run and the forms it is
// kept in: results.jsonl (one line an instance, appended as the run goes),
// junit.xml, and the table a person reads at the end.
//
// It is a leaf: it knows nothing of labs or cases, so that results can be read,
// merged and compared without the code that made them.
//
// results.jsonl is the truth; everything else is derived from it and can be
// written again with [Read].  A line is complete or absent: the writer appends
// each with one write, and the reader leaves out a torn last line, so that a
// killed run keeps all it had done.
package report
