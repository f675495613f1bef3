//go:build linux

package e2e

import (
	"testing"

	"linesplit/internal/testrig"
)

func TestMain(m *testing.M) { testrig.Main(m) }
