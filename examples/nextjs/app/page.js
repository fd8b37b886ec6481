import Image from 'next/image';
import { posts } from './posts';

// Static: rendered by `next build`.
export default function Home() {
  return (
    <>
      <h1>Home</h1>
      <Image src="/dot.png" alt="A dot" width={64} height={64} />
      <ul>
        {posts.map((post) => (
          <li key={post.slug}>{post.title}</li>
        ))}
      </ul>
    </>
  );
}
