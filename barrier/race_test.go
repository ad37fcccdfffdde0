//go:build race

package barrier

// raceEnabled: the detector makes the model ten times slower, and has nothing to find.
const raceEnabled = true
