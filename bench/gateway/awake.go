package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// latencyQoS is where Linux takes a bound on how long a core may need to wake
// (Documentation/power/pm_qos_interface).
const latencyQoS = "/dev/cpu_dma_latency"

// keepAwake has idle cores poll instead of halting, until they are released.
// Clients and service stand for other machines but run on the other core. Of a
// virtual machine a halted core is woken through the hypervisor, and the waker
// pays: some 6 us a request for a gateway that leaves that core time to halt,
// nothing for one that keeps it busy. On a network nobody pays that.
func keepAwake() (release func(), err error) {
	f, err := os.OpenFile(latencyQoS, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("keep idle cores awake (Linux, as root): %w", err)
	}
	if err := binary.Write(f, binary.NativeEndian, int32(0)); err != nil {
		return nil, errors.Join(fmt.Errorf("keep idle cores awake: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // the bound lasts while the file is open
}
