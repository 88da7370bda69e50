WebSockets of plain ``http://`` URLs pass through pipsocks, over HTTP upstreams too; every other ``Upgrade`` is still dropped.
