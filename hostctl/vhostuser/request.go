package vhostuser

import "fmt"

// request describes one message: which payload sizes and descriptor counts it may have, and who handles it.
type request struct {
	name     string
	min, max int // bytes of payload
	fds      int // greatest number of descriptors
	handle   func(*conn, *message) (reply []byte, err error)
}

// requests is indexed by message id. Ids without a handler are refused.
var requests = [...]request{
	1:  {"GET_FEATURES", 0, 0, 0, (*conn).getFeatures},
	2:  {"SET_FEATURES", 8, 8, 0, (*conn).setFeatures},
	3:  {"SET_OWNER", 0, 0, 0, (*conn).ignore},
	4:  {"RESET_OWNER", 0, 0, 0, (*conn).ignore}, // deprecated; the specification wants it ignored
	5:  {"SET_MEM_TABLE", 8, 8 + maxFDs*regionSize, maxFDs, (*conn).setMemTable},
	6:  {"SET_LOG_BASE", 16, 16, 1, (*conn).setLogBase},
	7:  {"SET_LOG_FD", 0, 8, 1, (*conn).setLogFD},
	8:  {"SET_VRING_NUM", 8, 8, 0, (*conn).setVringNum},
	9:  {"SET_VRING_ADDR", 40, 40, 0, (*conn).setVringAddr},
	10: {"SET_VRING_BASE", 8, 8, 0, (*conn).setVringBase},
	11: {"GET_VRING_BASE", 8, 8, 0, (*conn).getVringBase},
	12: {"SET_VRING_KICK", 8, 8, 1, (*conn).setVringKick},
	13: {"SET_VRING_CALL", 8, 8, 1, (*conn).setVringCall},
	14: {"SET_VRING_ERR", 8, 8, 1, (*conn).setVringErr},
	15: {"GET_PROTOCOL_FEATURES", 0, 0, 0, (*conn).getProtocolFeatures},
	16: {"SET_PROTOCOL_FEATURES", 8, 8, 0, (*conn).setProtocolFeatures},
	17: {"GET_QUEUE_NUM", 0, 0, 0, (*conn).getQueueNum},
	18: {"SET_VRING_ENABLE", 8, 8, 0, (*conn).setVringEnable},
	19: {"SEND_RARP", 8, 8, 0, (*conn).sendRARP},
	20: {"NET_SET_MTU", 8, 8, 0, (*conn).netSetMTU},
	21: {"SET_BACKEND_REQ_FD", 0, 8, 1, (*conn).setBackendReqFD},
	24: {"GET_CONFIG", configHeader, configHeader + maxConfig, 0, (*conn).getConfig},
	25: {name: "SET_CONFIG", min: configHeader, max: configHeader + maxConfig},
	31: {"GET_INFLIGHT_FD", 20, 24, 0, (*conn).getInflightFD},
	32: {"SET_INFLIGHT_FD", 20, 24, 1, (*conn).setInflightFD},
	34: {"RESET_DEVICE", 0, 0, 0, (*conn).resetDevice},
	36: {"GET_MAX_MEM_SLOTS", 0, 0, 0, (*conn).getMaxMemSlots},
	37: {"ADD_MEM_REG", 8 + regionSize, 8 + regionSize, 1, (*conn).addMemReg},
	38: {"REM_MEM_REG", 8 + regionSize, 8 + regionSize, 1, (*conn).remMemReg}, // QEMU sent a descriptor once
	39: {"SET_STATUS", 8, 8, 0, (*conn).setStatus},
	40: {"GET_STATUS", 0, 0, 0, (*conn).getStatus},
}

const (
	regionSize   = 32 // bytes of a memory region in a payload
	configHeader = 12 // offset, size and flags before the bytes of the configuration space
)

// lookup finds the request of a message and checks its shape.
func lookup(m *message) (*request, error) {
	if m.request >= uint32(len(requests)) || requests[m.request].name == "" {
		return nil, fmt.Errorf("unknown request %d", m.request)
	}
	r := &requests[m.request]
	if r.handle == nil {
		return nil, fmt.Errorf("%s: not supported", r.name)
	}
	if n := len(m.payload); n < r.min || n > r.max {
		return nil, fmt.Errorf("%s: payload of %d bytes", r.name, n)
	}
	if len(m.fds) > r.fds {
		return nil, fmt.Errorf("%s: %d descriptors", r.name, len(m.fds))
	}
	return r, nil
}

// requestName is for messages that may not exist.
func requestName(id uint32) string {
	if id < uint32(len(requests)) && requests[id].name != "" {
		return requests[id].name
	}
	return fmt.Sprintf("request %d", id)
}
