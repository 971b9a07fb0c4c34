package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"remote-client-server/models/hub"
)

func Example() {
	settings, err := hub.FromEnv(os.LookupEnv)
	if err != nil {
		log.Fatal(err)
	}
	res, err := settings.Fetch(context.Background(), hub.Request{
		Repo: "nomic-ai/nomic-embed-text-v1.5",
		Kind: "embed",
		Dir:  "model_files/nomic",
		Report: func(p hub.Progress) {
			fmt.Printf("\r%s %d of %d bytes, %s left", p.Phase, p.Bytes, p.Total, p.ETA)
		},
	})
	if errors.Is(err, hub.ErrGated) {
		log.Fatal("accept the licence first: ", err)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the model is in", res.Dir)
}
