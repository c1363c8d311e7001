// What js-libp2p takes from Node 22, for Node 20.

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
