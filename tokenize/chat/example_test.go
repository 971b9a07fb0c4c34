package chat_test

import (
	"context"
	"fmt"

	"remote-client-server/tokenize/chat"
)

func ExampleTemplate_Render() {
	template, err := chat.Parse(`{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{% endfor %}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	message := chat.NewDict()
	message.Set("role", chat.Trusted("user"))
	message.Set("content", chat.String("Is <|end|> special?"))
	vars := chat.NewDict()
	vars.Set("messages", chat.List(message))
	parts, err := template.Render(context.Background(), vars, chat.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range parts {
		fmt.Printf("%-21s of the request: %v\n", p.Text, p.Plain)
	}
	// Output:
	// <|user|>              of the request: false
	// Is <|end|> special?   of the request: true
	// <|end|>               of the request: false
}
