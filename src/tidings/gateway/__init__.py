"""The edge: WebSocket, HTTP, uploads and the page. It decides nothing."""
