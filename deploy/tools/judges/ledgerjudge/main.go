// ledgerjudge checks what the ledger issues by Go's own transparency-log library, so that the mathematics is not ours,
// and sets up litewitness beside it. Exit 0: it holds. Exit 1: it does not, and one line on standard error says why.
package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const usage = `usage:
  ledgerjudge inclusion VKEY PROOF RECORD      a tlog-proof file holds for the bytes of a record
  ledgerjudge quorum POLICY PROOF RECORD       the same, and its checkpoint is signed as a tlog-policy file demands
  ledgerjudge growth VKEY OLD REQUEST          an add-checkpoint request extends the checkpoint OLD
  ledgerjudge trust DATABASE VKEY              litewitness shall accept checkpoints of this log
  ledgerjudge agent SOCKET                     an SSH agent with a fresh key for litewitness, until standard input closes`

var commands = map[string]struct {
	arguments int
	run       func([]string) error
}{
	"inclusion": {3, inclusion}, "quorum": {3, quorum}, "growth": {3, growth}, "trust": {2, trust}, "agent": {1, func(args []string) error { return serveAgent(args[0]) }},
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]].arguments != len(os.Args)-2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]].run(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "ledgerjudge %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func inclusion(args []string) error {
	proof, record, err := twoFiles(args[1], args[2])
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(proof), "\n\n")
	lines, isProof := strings.CutPrefix(head, "c2sp.org/tlog-proof@v1\n")
	if strings.HasPrefix(lines, "extra ") { // it says nothing that counts
		_, lines, _ = strings.Cut(lines, "\n")
	}
	place, path64, _ := strings.Cut(lines, "\n")
	if !found || !isProof || !strings.HasPrefix(place, "index ") {
		return errors.New("not a tlog-proof file")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(place, "index "), 10, 64)
	if err != nil {
		return err
	}
	path, err := hashes(path64)
	if err != nil {
		return err
	}
	size, root, err := checkpoint(args[0], []byte(signed))
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, size, root, index, tlog.RecordHash(record))
}

func quorum(args []string) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	proof, record, err := twoFiles(args[1], args[2])
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(policy, tlog.RecordHash(record), proof)
}

func growth(args []string) error {
	old, request, err := twoFiles(args[1], args[2])
	if err != nil {
		return err
	}
	oldSize, oldRoot, err := checkpoint(args[0], old)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(request), "\n\n")
	first, path64, _ := strings.Cut(head, "\n")
	if !found || first != fmt.Sprintf("old %d", oldSize) {
		return fmt.Errorf("the request says %q, not old %d", first, oldSize)
	}
	path, err := hashes(path64)
	if err != nil {
		return err
	}
	size, root, err := checkpoint(args[0], []byte(signed))
	if err != nil {
		return err
	}
	return tlog.CheckTree(path, size, root, oldSize, oldRoot)
}

// checkpoint opens the note under the log's key and reads origin, size and root.
func checkpoint(vkey string, signed []byte) (int64, tlog.Hash, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, tlog.Hash{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return 0, tlog.Hash{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return 0, tlog.Hash{}, errors.New("the note is not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return 0, tlog.Hash{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return size, root, err
}

func hashes(lines string) ([]tlog.Hash, error) {
	var found []tlog.Hash
	if lines == "" {
		return found, nil
	}
	for _, line := range strings.Split(lines, "\n") {
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, fmt.Errorf("%q is not a hash", line)
		}
		found = append(found, tlog.Hash(raw))
	}
	return found, nil
}

func twoFiles(one, other string) ([]byte, []byte, error) {
	first, err := os.ReadFile(one)
	if err != nil {
		return nil, nil, err
	}
	second, err := os.ReadFile(other)
	return first, second, err
}
