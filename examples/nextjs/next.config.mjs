/** @type {import('next').NextConfig} */
export default {
  async redirects() {
    return [
      { source: '/old', destination: '/', permanent: true }, // 308
      { source: '/latest', destination: '/blog/second', permanent: false }, // 307
    ];
  },
};
