package boot

import (
	"os"
	"path/filepath"
	"strings"
)

// expeditedFile says whether the kernel ends RCU's grace periods at once, by interrupting every CPU (Linux,
// Documentation/admin-guide/kernel-parameters.txt, "rcupdate.rcu_expedited").
const expeditedFile = "sys/kernel/rcu_expedited"

// hurry has the kernel wait for nothing that it need not wait for, as it does itself until it starts init: mounts, and
// modules that come, wait for a grace period each, a second in all under emulation. It says whether calm is due: not when
// the kernel's arguments settle the matter, and not when the kernel cannot.
func hurry(root, cmdline string) bool {
	if strings.Contains(cmdline, "rcupdate.rcu_") {
		return false
	}
	return os.WriteFile(filepath.Join(root, expeditedFile), []byte("1"), 0) == nil
}

// calm ends it: a machine that measures wants no interrupts on the CPUs it has set apart.
func calm(root string) error {
	return os.WriteFile(filepath.Join(root, expeditedFile), []byte("0"), 0)
}
