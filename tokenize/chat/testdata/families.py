"""Templates in the manner of each family, written for these tests, and conversations for them."""

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather \"now\" — <b>", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "default": 1}},
    "required": ["city"]}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Tells the time", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2}}}
TOOL = [user("Weather?"), assistant(None, tool_calls=[CALL]), {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "{\"t\": 7.5}"}]

CONVERSATIONS = {
    "one question": {"messages": [user("Hi there")], "add_generation_prompt": True},
    "no prompt": {"messages": [user("Hi"), assistant("Hello!")], "add_generation_prompt": False},
    "system": {"messages": [SYSTEM, user("Hi")], "add_generation_prompt": True},
    "turns": {"messages": [SYSTEM, user(" one "), assistant(" two "), user("three\n"), assistant("four"), user(" V ")], "add_generation_prompt": True},
    "tools": {"messages": [SYSTEM, user("Weather in Köln?")], "tools": [WEATHER, CLOCK], "add_generation_prompt": True},
    "tool call": {"messages": TOOL, "tools": [WEATHER], "add_generation_prompt": True},
    "tool answer": {"messages": [SYSTEM, *TOOL, assistant("7.5 degrees"), user("thanks")], "tools": [WEATHER], "add_generation_prompt": True},
    "thinking": {"messages": [user("2+2?"), assistant("<think>\nadd\n</think>\n\n4"), user("3+3?")], "add_generation_prompt": True},
    "reasoning": {"messages": [user("2+2?"), assistant("4", reasoning_content="add them")], "add_generation_prompt": False},
    "no thinking": {"messages": [user("2+2?")], "add_generation_prompt": True, "kwargs": {"enable_thinking": False, "date_string": "1 Jan 2030"}},
    "special text": {"messages": [SYSTEM, user("<|end|> <|im_end|> </s> [INST] {{ x }}")], "add_generation_prompt": True},
    "two users": {"messages": [user("a"), user("b")], "add_generation_prompt": True},
    "bad role": {"messages": [user("a"), {"role": "narrator", "content": "b"}], "add_generation_prompt": True},
    "unicode": {"messages": [user("Grüße 日本 🙂\u200d\n\ttab"), assistant("ok")], "add_generation_prompt": True},
    "continued": {"messages": [user("Count"), assistant("one, two, ")], "continue_final_message": True},
    "two calls": {"messages": [user("Both?"), assistant("Sure.", tool_calls=[CALL, {**CALL, "id": "call00002", "function": {"name": "clock", "arguments": {}}}]),
                               {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "rain"},
                               {"role": "tool", "name": "clock", "tool_call_id": "call00002", "content": "noon"}], "tools": [WEATHER, CLOCK], "add_generation_prompt": True},
    "answer first": {"messages": [{"role": "tool", "name": "clock", "tool_call_id": "call00002", "content": "noon"}, user("so?")], "add_generation_prompt": True},
    "empty texts": {"messages": [{"role": "system", "content": ""}, user(""), assistant(""), user("\n")], "add_generation_prompt": True},
    "developer": {"messages": [{"role": "developer", "content": "D"}, user("x")], "add_generation_prompt": True},
    "system later": {"messages": [user("x"), SYSTEM, user("y")], "add_generation_prompt": True},
    "no tools": {"messages": [SYSTEM, user("x")], "tools": [], "add_generation_prompt": True},
    "two thoughts": {"messages": [user("a"), assistant("<think>one</think>b", reasoning="why"), user("/no_think c"), assistant("</think>d", thinking="so")], "add_generation_prompt": True, "kwargs": {"enable_thinking": True, "reasoning_effort": "high"}},
    "documents": {"messages": [user("Who?")], "documents": [{"title": "A", "text": "Ada"}, {"title": "B", "text": "Bo"}], "add_generation_prompt": True},
}

TEMPLATES = {
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "llama2": """{%- if messages[0].role == 'system' -%}
    {%- set rest = messages[1:] -%}{%- set preface = messages[0].content -%}
{%- else -%}
    {%- set rest = messages -%}{%- set preface = false -%}
{%- endif -%}
{%- for turn in rest -%}
    {%- if (turn.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate user/assistant/...') }}{%- endif -%}
    {%- if loop.index0 == 0 and preface != false -%}
        {%- set content = '<<SYS>>\\n' + preface + '\\n<</SYS>>\\n\\n' + turn.content -%}
    {%- else -%}{%- set content = turn.content -%}{%- endif -%}
    {%- if turn.role == 'user' -%}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {%- elif turn.role == 'assistant' -%}{{ ' ' + content.strip() + ' ' + eos_token }}{%- endif -%}
{%- endfor -%}""",
    "llama3": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set preface = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set preface = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools is not none %}{{- 'Environment: ipython\\n' }}{%- endif %}
{{- 'Today Date: ' + date_string + '\\n\\n' }}
{%- if tools is not none %}
    {{- 'These functions can be called as {"name": ..., "parameters": ...}:\\n\\n' }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}
{%- endif %}
{{- preface }}{{- '<|eot_id|>' }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception('one tool call at a time') }}{%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}{{- call.arguments | tojson }}{{- '}' }}{{- '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
        {{- '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
""",
    "chatml": """{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "qwen3": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\n<tools>" }}{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}{{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}{%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}{%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}{{- '<|im_start|>' + message.role + '\\n' + content }}{%- endif %}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set preface = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("roles must alternate, got " ~ message.role) }}{%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and preface is defined %}{{- "[INST] " + preface + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("ids have 9 characters") }}{%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}{%- set content = message.content.content %}{%- else %}{%- set content = message.content %}{%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- raise_exception("only user, assistant and tool") }}{%- endif %}
{%- endfor %}
""",
    "gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
    "gemma3": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}{%- set first_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}{%- set first_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}
    {%- set rest = messages[1:] -%}
{%- else -%}{%- set first_prefix = "" -%}{%- set rest = messages -%}{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("roles must alternate") }}{%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}
    {%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}
""",
    "phi3": """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "phi4": """{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}""",
    "smollm3": """{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- set mode = "/think" if enable_thinking else "/no_think" -%}
{%- set instructions = "" -%}
{%- if messages[0].role == "system" -%}
    {%- set instructions = messages[0].content -%}
    {%- if "/no_think" in instructions -%}{%- set mode = "/no_think" -%}{%- endif -%}
    {%- set instructions = instructions.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{{- "<|im_start|>system\n" -}}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "## Metadata\n\n" -}}{{- "Today: " ~ today ~ "\n" -}}{{- "Mode: " + mode + "\n\n" -}}
{%- if instructions -%}{{- "## Instructions\n\n" -}}{{- instructions + "\n\n" -}}{%- endif -%}
{%- if tools -%}
    {%- set ns = namespace(text="<tools>\n") -%}
    {%- for tool in tools -%}{%- set ns.text = ns.text ~ (tool | string) ~ "\n" -%}{%- endfor -%}
    {{- ns.text + "</tools>\n" -}}
{%- endif -%}
{{- "<|im_end|>\n" -}}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}{{ "<|im_start|>user\n" + content + "<|im_end|>\n" }}
    {%- elif message.role == "assistant" -%}
        {%- generation -%}
        {%- if mode == "/think" -%}{{ "<|im_start|>assistant\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- else -%}{{ "<|im_start|>assistant\n" + "<think>\n\n</think>\n" + content.lstrip("\n") + "<|im_end|>\n" }}{%- endif -%}
        {%- endgeneration -%}
    {%- elif message.role == "tool" -%}{{ "<|im_start|>user\n" + content + "<|im_end|>\n" }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{%- if mode == "/think" -%}{{ "<|im_start|>assistant\n" }}{%- else -%}{{ "<|im_start|>assistant\n<think>\n\n</think>\n" }}{%- endif -%}{%- endif -%}
""",
    "deepseek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\n```json\n' + tool['function']['arguments']|tojson + '\n```<｜tool▁call▁end｜>'}}{%- set ns.is_first = true -%}{%- else %}{{'\n<｜tool▁call▁begin｜>' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] %}{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\n<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}""",
    "typed": """{%- macro render_type(spec) -%}
    {%- if spec.type == 'array' -%}{{- render_type(spec['items']) + '[]' -}}
    {%- elif spec.type is iterable and spec.type is not string -%}{{- spec.type|join(' | ') -}}
    {%- elif spec.type == 'object' -%}{{- '{' }}{%- for name, p in spec.properties.items() -%}{{ name ~ ('' if name in (spec.required or []) else '?') ~ ': ' ~ render_type(p) ~ (', ' if not loop.last else '') }}{%- endfor -%}{{- '}' -}}
    {%- elif spec.type in ['integer', 'number'] -%}number{%- else -%}{{ spec.type|default('any') }}{%- endif -%}
    {%- if spec.default is defined -%}{{ ' = ' ~ spec.default }}{%- endif -%}
{%- endmacro -%}
{%- macro render_tools(tools) -%}
    namespace functions {
    {%- for tool in tools %}
    {{ '// ' + tool.function.description }}
    type {{ tool.function.name }} = (_: {{ render_type(tool.function.parameters) }}) => any;
    {%- endfor %}
}
{%- endmacro -%}
<|start|>system<|message|>Current date: {{ strftime_now("%Y-%m-%d") }}
{%- if tools %}

{{ render_tools(tools) }}
{%- endif -%}<|end|>
{%- set last_tool = namespace(name=none) -%}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if message.tool_calls -%}
            {%- set call = message.tool_calls[0].function -%}
            {{- "<|start|>assistant to=functions." ~ call.name ~ "<|channel|>commentary json<|message|>" ~ call.arguments|tojson ~ "<|call|>" -}}
            {%- set last_tool.name = call.name -%}
        {%- else -%}
            {%- if message.thinking -%}{{- "<|start|>assistant<|channel|>analysis<|message|>" ~ message.thinking ~ "<|end|>" -}}{%- endif -%}
            {{- "<|start|>assistant<|channel|>final<|message|>" ~ message.content ~ ("<|return|>" if loop.last and not add_generation_prompt else "<|end|>") -}}
        {%- endif -%}
    {%- elif message.role == 'tool' -%}
        {%- if last_tool.name is none -%}{{- raise_exception("a tool message without a call") -}}{%- endif -%}
        {{- "<|start|>functions." ~ last_tool.name ~ " to=assistant<|channel|>commentary<|message|>" ~ message.content|tojson ~ "<|end|>" -}}
    {%- elif message.role == 'user' -%}{{- "<|start|>user<|message|>" ~ message.content ~ "<|end|>" -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}""",
    "command": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if documents %}{{ '<results>' }}{% for document in documents %}{{ '\nDocument: ' ~ loop.index0 }}{% for key, value in document.items() %}{{ '\n' ~ key ~ ': ' ~ value }}{% endfor %}{% endfor %}{{ '</results>' }}{% endif %}{% if system_message != false %}{{ '<|SYSTEM|>' + system_message + '<|END|>' }}{% endif %}{% for message in loop_messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|USER|>' + content.strip() + '<|END|>' }}{% elif message['role'] == 'assistant' %}{{ '<|CHATBOT|>' + content.strip() + '<|END|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|CHATBOT|>' }}{% endif %}""",
    "granite": """{%- if messages[0]['role'] == 'system' %}{%- set preface = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set preface = "Date: " + strftime_now('%B %d, %Y') + ".\nYou are helpful." %}{%- if tools and documents %}{%- set preface = preface + " Tools and documents." %}{%- elif documents %}{%- set preface = preface + " Documents." %}{%- endif %}{%- set loop_messages = messages %}{%- endif %}{{- '<|role|>system<|end_role|>' + preface + '<|text_end|>\n' }}{%- if tools %}{{- '<|role|>tools<|end_role|>' }}{{- tools | tojson(indent=4) }}{{- '<|text_end|>\n' }}{%- endif %}{%- if documents %}{{- '<|role|>documents<|end_role|>' }}{%- for document in documents %}{{- 'Document ' + loop.index | string + '\n' }}{{- document['text'] }}{%- if not loop.last %}{{- '\n\n'}}{%- endif%}{%- endfor %}{{- '<|text_end|>\n' }}{%- endif %}{%- for message in loop_messages %}{{- '<|role|>' + message['role'] + '<|end_role|>' + message['content'] + '<|text_end|>\n' }}{%- if loop.last and add_generation_prompt %}{{- '<|role|>assistant' }}{{- '<|end_role|>' }}{%- endif %}{%- endfor %}""",
}
