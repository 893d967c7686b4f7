package contend

import (
	"fmt"
	"math/rand"
	"os"
	"time"
)

// Check ends the program when something is not so.
func Check(so bool, format string, arguments ...any) {
	if !so {
		fmt.Fprintf(os.Stderr, format+"\n", arguments...)
		os.Exit(1)
	}
}

// Fresh is the name of a lock that nobody has used.
func Fresh(program string) string {
	return fmt.Sprintf("%s-%016x", program, rand.Uint64())
}

// Within is whether low < value ≤ high.
func Within(low, value, high time.Duration) bool {
	return low < value && value <= high
}
