// Command convert turns its standard input into upper case.
package main

import (
	"bytes"
	"io"
	"os"
)

func main() {
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		os.Exit(1)
	}
	os.Stdout.Write(bytes.ToUpper(data))
}
