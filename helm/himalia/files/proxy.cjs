// Node takes the name that a server's certificate must have from the header Host, which here is the
// browser's. A part of the hub must be the one that the proxy leads to, whatever a browser calls it.
'use strict';
const https = require('node:https');
const { isIP } = require('node:net');

const connect = https.Agent.prototype.createConnection;
https.Agent.prototype.createConnection = function (options, ...rest) {
  const servername = isIP(options.host) ? '' : options.host;
  return connect.call(this, { ...options, servername }, ...rest);
};
