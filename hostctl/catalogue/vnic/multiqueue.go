package vnic

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"picolab/hostctl/catalogue"
)

var multiqueue = catalogue.Case{
	ID:    "vnic.multiqueue",
	Title: "Each of four queue pairs has an interrupt of its own, near a processor of its own",
	Seed: catalogue.Seed{Doc: doc, Item: "22",
		Criterion: "queues=4, vectors=9, mq=on, -smp 4; ethtool -L eth0 combined 4; cat /proc/irq/N/affinity_hint of " +
			"virtio1-input.0 to .3: 1, 2, 4, 8",
		Note: "Nine vectors are two a pair and one for changes of the configuration; the control queue has none. All four pairs " +
			"are in use from the start today, so ethtool -L changes nothing. With four vectors, which are too few, the driver " +
			"falls back to one interrupt for all queues, and there is nothing to hint at: that is tried as well."},
	Where:    where,
	Topology: manyQueues().OnBackends(),
	Matrix:   vectors(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"pairs": "4", "hints": "1 2 4 8", "interval": "1s", "count": "10", "time": "15s"},
		Quick: catalogue.Values{"interval": "100ms", "time": "2s"},
	},
	Steps: []string{
		"boot with -smp 4 and a card of queues=4,mq=on and the vectors",
		"ethtool -L combined 4, ethtool -l: four combined channels of four",
		"vectors=9: virtioN-input.0 to .3 are in /proc/interrupts, and their affinity hints are 1, 2, 4, 8",
		"vectors=4: no queue has an interrupt of its own, all share virtioN-virtqueues",
		"ping -c 10 the guest from the host: the loss must be zero",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link, pairs := guest.Link(0).Name, t.Int("pairs")
		set := guest.SetCombined(link, pairs)
		now := guest.Channels(link)
		catalogue.Equal(t, "combined channels after ethtool -L", pairs, int(now.GetCombined()), catalogue.JSON(set))
		catalogue.Equal(t, "combined channels at most", pairs, int(now.GetMaxCombined()), catalogue.JSON(now))
		interrupts := cardLines(guest, guest.ReadFile("/proc/interrupts"))
		if t.Axis("vectors") == enough {
			checkHints(t, guest, interrupts)
		} else {
			checkShared(t, interrupts)
		}
		t.NoLoss("ping through the queues", t.Host().Ping(t.PlainPing(guest.Addr(0))))
	},
}

// enough is the number of vectors that gives each of four pairs two.
const enough = "9"

// manyQueues is a guest with as many processors as its card has queue pairs.
func manyQueues() catalogue.Topology {
	top := catalogue.OneGuest("vectors=$vectors")
	top.Guests[0].CPUs, top.Guests[0].Spare = 4, 0
	top.Guests[0].NICs[0].Queues = 4
	return top
}

func vectors() catalogue.Matrix {
	m := catalogue.VirtioOnly("of these models only virtio has more than one pair of queues").Backends()
	m.Axes = append(m.Axes, catalogue.Axis{Name: "vectors", Values: []string{enough, "4"}})
	return m
}

// Lines of /proc/interrupts: the number, a count for each processor, where it comes from, and the name that virtio_pci gives
// it (Linux, drivers/virtio/virtio_pci_common.c).
var (
	virtioIRQ = regexp.MustCompile(`(?m)^ *\d+:.* (virtio\d+)-\S+$`)
	inputIRQ  = regexp.MustCompile(`(?m)^ *(\d+):.* (virtio\d+-input\.(\d+))$`)
	sharedIRQ = regexp.MustCompile(`(?m)^ *\d+:.* virtio\d+-virtqueues$`)
)

// networkCard is the device id of a network card (virtio 1.3, 5).
const networkCard = "0x0001"

// cardLines are the lines of the virtio network card, of which the guest has one: its vsock is a virtio device as well.
func cardLines(guest *catalogue.Node, interrupts string) string {
	var lines []string
	kinds := map[string]string{}
	for _, m := range virtioIRQ.FindAllStringSubmatch(interrupts, -1) {
		if _, asked := kinds[m[1]]; !asked {
			kinds[m[1]] = guest.ReadFile("/sys/bus/virtio/devices/" + m[1] + "/device")
		}
		if kinds[m[1]] == networkCard {
			lines = append(lines, m[0])
		}
	}
	return strings.Join(lines, "\n")
}

// checkHints checks that each receive queue's interrupt is hinted to the processor of its number.
func checkHints(t *catalogue.T, guest *catalogue.Node, interrupts string) {
	irqs := map[string][]string{} // queue to IRQ and name
	for _, m := range inputIRQ.FindAllStringSubmatch(interrupts, -1) {
		irqs[m[3]] = m[1:3]
	}
	for queue, want := range t.Words("hints") {
		irq, ok := irqs[strconv.Itoa(queue)]
		if !t.Check(fmt.Sprintf("interrupt of receive queue %d", queue), "its own", strings.Join(irq, " "), ok, oneLine(interrupts)) {
			continue
		}
		path := "/proc/irq/" + irq[0] + "/affinity_hint"
		catalogue.Equal(t, fmt.Sprintf("affinity hint of receive queue %d", queue), want, mask(guest.ReadFile(path)), irq[1]+": "+path)
	}
}

// checkShared checks that no queue has an interrupt of its own.
func checkShared(t *catalogue.T, interrupts string) {
	own := len(inputIRQ.FindAllString(interrupts, -1))
	catalogue.Equal(t, "receive queues with an interrupt of their own", 0, own, oneLine(interrupts))
	catalogue.Equal(t, "interrupt that all queues share", true, sharedIRQ.MatchString(interrupts), oneLine(interrupts))
}

// oneLine is text for a check's evidence.
func oneLine(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "; ")
}

// mask writes a processor mask without the zeros in front and the commas that the kernel prints on larger machines.
func mask(text string) string {
	text = strings.TrimLeft(strings.ReplaceAll(text, ",", ""), "0")
	if text == "" {
		return "0"
	}
	return text
}
