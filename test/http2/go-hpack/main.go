// Encodes and decodes header blocks with Go's HPACK, which shares no code with ours. See ../hpack.mjs.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log"
	"math/rand"
	"os"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// A header block and its fields, names and values in turn, all in hexadecimal.
type block struct {
	Connection int      `json:"connection"`
	Block      string   `json:"block"`
	Fields     []string `json:"fields"`
}

const (
	connections = 200
	blocks      = 50
	// The largest table that the server allows.
	tableBytesMax = 4096
)

func main() {
	if os.Args[1] == "decode" {
		// A table of 0 bytes, because our encoder must not use it.
		decode(0)
		return
	}
	if os.Args[1] == "judge" {
		decode(tableBytesMax)
		return
	}
	seed, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	encode(rand.New(rand.NewSource(seed)))
}

// Writes random blocks. Those of one connection share a dynamic table.
func encode(random *rand.Rand) {
	out := json.NewEncoder(os.Stdout)
	for connection := range connections {
		var bytes bytes.Buffer
		encoder := hpack.NewEncoder(&bytes)
		encoder.SetMaxDynamicTableSizeLimit(tableBytesMax)
		values := []string{"", "a"}
		for range blocks {
			bytes.Reset()
			// Several changes before a block become one or two in it.
			for random.Intn(8) == 0 {
				encoder.SetMaxDynamicTableSize(uint32(random.Intn(tableBytesMax + 1)))
			}
			fields := []string{}
			for range random.Intn(12) {
				field := randomField(random, &values)
				if err := encoder.WriteField(field); err != nil {
					log.Fatal(err)
				}
				fields = append(fields, hex.EncodeToString([]byte(field.Name)), hex.EncodeToString([]byte(field.Value)))
			}
			if err := out.Encode(block{connection, hex.EncodeToString(bytes.Bytes()), fields}); err != nil {
				log.Fatal(err)
			}
		}
	}
}

var names = []string{":method", ":path", ":status", ":authority", "content-type", "te", "cookie", "www-authenticate", "x-a", "x-b"}

// Repeats names and values, so that some are in the table.
func randomField(random *rand.Rand, values *[]string) hpack.HeaderField {
	name := names[random.Intn(len(names))]
	if random.Intn(3) == 0 {
		name = randomText(random, 1+random.Intn(40))
	}
	value := (*values)[random.Intn(len(*values))]
	if random.Intn(2) == 0 {
		length := random.Intn(100)
		if random.Intn(20) == 0 {
			length = random.Intn(6000)
		}
		value = randomText(random, length)
		*values = append(*values, value)
	}
	return hpack.HeaderField{Name: name, Value: value, Sensitive: random.Intn(5) == 0}
}

// Text of common characters, which Huffman makes shorter, or of any bytes.
func randomText(random *rand.Rand, length int) string {
	text := make([]byte, length)
	common := random.Intn(3) > 0
	for i := range text {
		if common {
			text[i] = byte(' ' + random.Intn(95))
		} else {
			text[i] = byte(random.Intn(256))
		}
	}
	return string(text)
}

// Reads blocks of which each belongs to a connection of its own, and writes their fields, or null if a block is invalid.
func decode(tableBytes uint32) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		bytes, err := hex.DecodeString(in.Text())
		if err != nil {
			log.Fatal(err)
		}
		var fields []string
		if decoded, err := hpack.NewDecoder(tableBytes, nil).DecodeFull(bytes); err == nil {
			fields = []string{}
			for _, field := range decoded {
				fields = append(fields, hex.EncodeToString([]byte(field.Name)), hex.EncodeToString([]byte(field.Value)))
			}
		}
		if err := out.Encode(fields); err != nil {
			log.Fatal(err)
		}
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
}
