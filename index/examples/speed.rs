//! scratch
use std::time::Instant;
use synapsenet_index::*;
fn mem(k:&str)->u64{std::fs::read_to_string("/proc/self/status").unwrap().lines().find_map(|l|l.strip_prefix(k)).unwrap().trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap()/1024}
fn cpu()->f64{let t=std::fs::read_to_string("/proc/self/stat").unwrap();let f:Vec<&str>=t.rsplit(')').next().unwrap().split_whitespace().collect();(f[11].parse::<f64>().unwrap()+f[12].parse::<f64>().unwrap())/100.0}
fn main(){
 println!("start rss {} ",mem("VmRSS"));
 let t=Instant::now();
 let rt=Runtime::load(&find_runtime(None).unwrap()).unwrap(); println!("runtime {:?} rss {}",t.elapsed(),mem("VmRSS"));
 let t=Instant::now(); let m=Model::built_in().unwrap(); println!("model {:?} rss {}",t.elapsed(),mem("VmRSS"));
 let t=Instant::now(); let tok=Tokenizer::new(&m).unwrap(); println!("tokenizer {:?} rss {}",t.elapsed(),mem("VmRSS"));
 let t=Instant::now(); let c=cpu(); let mut e=Embedder::new(&rt,&m,1).unwrap(); println!("session {:?} cpu {:.2} rss {} anon {} hwm {}",t.elapsed(),cpu()-c,mem("VmRSS"),mem("RssAnon"),mem("VmHWM"));
 let q=tok.tokenize("How do I keep the server in the cellar cool in summer?",Purpose::Question);
 for _ in 0..5 {e.embed(&[q.clone()]).unwrap();}
 let mut l:Vec<f64>=(0..60).map(|_|{let t=Instant::now();e.embed(&[tok.tokenize("How do I keep the server in the cellar cool in summer?",Purpose::Question)]).unwrap();t.elapsed().as_secs_f64()*1e3}).collect();
 l.sort_by(f64::total_cmp); println!("question {} tokens: min {:.2} p50 {:.2} p90 {:.2} ms (1 thread)",q.len(),l[0],l[30],l[54]);
 println!("after questions rss {} hwm {}",mem("VmRSS"),mem("VmHWM"));
 let raw=std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
 let n:usize=std::env::args().nth(2).unwrap().parse().unwrap();
 let texts:Vec<&str>=raw.lines().step_by(raw.lines().count()/n).collect();
 let t=Instant::now(); let toks:Vec<Tokenized>=texts.iter().map(|x|tok.tokenize(x,Purpose::Document)).collect();
 println!("tokenize {} texts {:?}, {} tokens",toks.len(),t.elapsed(),toks.iter().map(Tokenized::len).sum::<usize>());
 let lens:Vec<usize>=toks.iter().map(Tokenized::len).collect();
 let mut e2=Embedder::new(&rt,&m,2).unwrap(); println!("2nd session rss {}",mem("VmRSS"));
 let mut l:Vec<f64>=(0..60).map(|_|{let t=Instant::now();e2.embed(&[q.clone()]).unwrap();t.elapsed().as_secs_f64()*1e3}).collect();
 l.sort_by(f64::total_cmp); println!("question: min {:.2} p50 {:.2} p90 {:.2} ms (2 threads)",l[0],l[30],l[54]);
 for round in 0..2 { for budget in [1,128,256,512,1024,2048] {
  let plan=plan_batches(&lens,budget,64);
  let mut row=vec![];
  for th in [1,2] { let e=if th==1{&mut e}else{&mut e2};
   let (t,c)=(Instant::now(),cpu());
   for b in &plan { let x:Vec<Tokenized>=b.iter().map(|&i|toks[i].clone()).collect(); e.embed(&x).unwrap(); }
   row.push(format!("1x{th}: {:.0}/s {:.0}/cpu-s",n as f64/t.elapsed().as_secs_f64(),n as f64/(cpu()-c)));
  }
  println!("{round} budget {budget} batches {} | {} | rss {} hwm {}",plan.len(),row.join(" | "),mem("VmRSS"),mem("VmHWM"));
 } 
  let mut a=Embedder::new(&rt,&m,1).unwrap();
  for budget in [256,512] { let plan=plan_batches(&lens,budget,64);
  let (t,c)=(Instant::now(),cpu());
  let next=std::sync::atomic::AtomicUsize::new(0);
  std::thread::scope(|s|{ for e in [&mut e,&mut a] { let (plan,toks,next)=(&plan,&toks,&next); s.spawn(move||loop{ let i=next.fetch_add(1,std::sync::atomic::Ordering::Relaxed); let Some(b)=plan.get(i) else {break}; let x:Vec<Tokenized>=b.iter().map(|&i|toks[i].clone()).collect(); e.embed(&x).unwrap(); }); } });
  println!("{round} 2x1 budget {budget}: {:.0}/s {:.0}/cpu-s rss {}",n as f64/t.elapsed().as_secs_f64(),n as f64/(cpu()-c),mem("VmRSS")); }
 }
 for (name,unit) in [("glosses",raw.as_str()),("lines","one line\n"),("nospace","x"),("words","word "),("para","A short paragraph with few words.\n\n")] {
  let text=unit.repeat(4*1024*1024/unit.len()+1); let text=&text[..text.floor_char_boundary(4*1024*1024)];
  let t=Instant::now(); let c=cpu(); let n=split(&[Section{headings:vec![],text:text.to_owned()}],&tok,256,16*1024).len();
  println!("split 4 MiB {name}: {n} chunks {:?} cpu {:.2}",t.elapsed(),cpu()-c);
 }
 println!("end rss {} hwm {}",mem("VmRSS"),mem("VmHWM"));
}
