package catalogue

// RxFilter is what a card receives, as QEMU tells (query-rx-filter of the QEMU QMP
// reference).  Only virtio-net answers.
type RxFilter struct {
	Name        string   `json:"name"`
	MainMAC     string   `json:"main-mac"`
	Promiscuous bool     `json:"promiscuous"`
	Unicast     []string `json:"unicast-table"`
	Multicast   []string `json:"multicast-table"`
}

// RxFilter asks QEMU for the filter of the guest's i-th network card.
func (n *Node) RxFilter(i int) RxFilter {
	var filters []RxFilter
	n.QMP("query-rx-filter", Args{"name": n.Card(i).Device}, &filters)
	if len(filters) != 1 {
		n.t.Fatalf("query-rx-filter: %d answers for one card", len(filters))
	}
	return filters[0]
}
