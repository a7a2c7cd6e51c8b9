// Package wire is the agent's RPC schema (protobuf messages carried by ttrpc), its limits and its error codes.
//
// It knows nothing of verbs or transports. The schema is agent.proto; the Go code is generated with protoc,
// protoc-gen-go and protoc-gen-go-ttrpc and committed.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-ttrpc_out=. --go-ttrpc_opt=paths=source_relative agent.proto
