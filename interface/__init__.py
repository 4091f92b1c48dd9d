"""The page: what it is told (Python, here) and what draws it (JavaScript and CSS, in assets/ui).

page.py        the parts in order: build_app(attributor) -> gr.Blocks
requests.py    ONE checker of what anybody may ask
handlers.py    plain functions of an Attributor behind every event
endpoints.py   the public API
serving.py     the server's settings
pictures.py    which folders are served
starting.py    a quick import of gradio
"""
