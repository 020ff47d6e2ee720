#!/usr/bin/env node
// The only way out: what is sent to 127.0.0.1:3128 goes to the gateway's socket.
const net = require("net");
net
  .createServer((local) => {
    const gateway = net.connect("/run/lane/gw.sock");
    local.pipe(gateway).pipe(local);
    local.on("error", () => gateway.destroy());
    gateway.on("error", () => local.destroy());
  })
  .listen(3128, "127.0.0.1");
