//go:build tools

// Package picolab pins what the module needs besides its own imports: the u-root commands that go into the images.
package picolab

import (
	_ "github.com/u-root/u-root/cmds/core/cat"
)
