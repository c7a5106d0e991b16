package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// trust does what `witnessctl add-log` and `add-key` do in the database that litewitness made. witnessctl itself is not
// built: for a command that we do not use it needs a module that the Go proxy does not serve.
func trust(args []string) error {
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	database, err := sqlite.OpenConn(args[0], sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	defer database.Close()
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return err
	}
	add := "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)"
	if err := sqlitex.Execute(database, add, &sqlitex.ExecOptions{Args: []any{verifier.Name(), empty.String()}}); err != nil {
		return err
	}
	add = "INSERT INTO key (origin, key) VALUES (?, ?)"
	return sqlitex.Execute(database, add, &sqlitex.ExecOptions{Args: []any{verifier.Name(), args[1]}})
}

// serveAgent prints the fingerprint of its key, by which litewitness asks for it.
func serveAgent(socket string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		return err
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	fmt.Println(ssh.FingerprintSHA256(public))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go agent.ServeAgent(keys, connection)
	}
}
