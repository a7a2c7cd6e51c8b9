// Package page makes a run's report for people: one HTML file without scripts, fonts or pictures from elsewhere, so that it
// can be mailed, archived and opened on a machine without a network. It holds the verdicts, a map of cases by network card,
// for each instance the steps as commands, what was expected and what came, links to the evidence beside it, and plots of
// what was measured. Light or dark follows the browser, and a phone's width is enough.
package page

// File is the report's name in a run's folder; its links to evidence are relative to that folder.
const File = "report.html"
