;; my-policy: extents of the class "urgent" go first, and a delete ends the work on what it deletes.
;;
;; Where to go on: give it the rules that you need in $score and $conflict, a line in the description for each
;; of them, and a case in cases/ for each line. Then: datanode policy test
;;
;; Offsets and numbers are those of docs/policy-abi.md. A record is read by its offsets, and a batch is walked by
;; the strides in its header, which may grow.
(module
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 8192)) ;; everything below is data

  ;; The description. Reasons are what people read in datanode op explain; they are counted from 0. Another
  ;; version for each policy that you load, so that decisions can be told apart.
  (data (i32.const 1024)
    "{\"name\":\"my-policy\",\"version\":\"1\",\"reasons\":["
    "\"unspecified\","                               ;; 0
    "\"its class is urgent\","                       ;; 1
    "\"redundancy is lost\","                        ;; 2
    "\"can wait\","                                  ;; 3
    "\"a delete ends the work on what it deletes\"," ;; 4
    "\"it is being deleted\","                       ;; 5
    "\"asked for twice\","                           ;; 6
    "\"the node stays\","                            ;; 7
    "\"one after the other\"]}")                     ;; 8, and a zero behind it

  (func (export "policy_abi_v1"))

  ;; The length is that up to the first zero.
  (func (export "policy_describe") (result i64)
    (local $end i32)
    (local.set $end (i32.const 1024))
    (loop $next
      (if (i32.load8_u (local.get $end)) (then
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next))))
    (i64.or (i64.const 0x40000000000) (i64.extend_i32_u (i32.sub (local.get $end) (i32.const 1024)))))

  ;; Memory that is never given back: the heap moves up, and the memory grows where it ends.
  (func (export "policy_alloc") (param $n i32) (result i32)
    (local $at i32) (local $pages i32)
    (local.set $at (global.get $heap))
    (if (i32.gt_u (local.get $n) (i32.const 0x40000000)) (then (unreachable)))
    (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get $n) (i32.const 7)) (i32.const -8))))
    (local.set $pages (i32.sub (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0)) (then
      (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (unreachable)))))
    (local.get $at))

  ;; Minutes of waiting, ten points each. 1200 of them are worth more than being urgent, and are all that counts.
  (func $waited (param $micros i64) (result i32)
    (local $minutes i64)
    (local.set $minutes (i64.div_s (local.get $micros) (i64.const 60000000)))
    (if (i64.lt_s (local.get $minutes) (i64.const 0)) (then (return (i32.const 0))))
    (if (i64.gt_s (local.get $minutes) (i64.const 1200)) (then (local.set $minutes (i64.const 1200))))
    (i32.mul (i32.wrap_i64 (local.get $minutes)) (i32.const 10)))

  ;; Whether the class of the facts at $f is "urgent": sixteen bytes, zero padded, as two numbers.
  (func $urgent (param $f i32) (result i32)
    (i32.and
      (i64.eq (i64.load offset=64 (local.get $f)) (i64.const 0x0000746e65677275)) ;; "urgent", backwards
      (i64.eqz (i64.load offset=72 (local.get $f)))))

  ;; A score as the eight bytes of its record: the priority in the lower half, the reason above it.
  (func $scored (param $priority i32) (param $reason i32) (result i64)
    (i64.or
      (i64.extend_i32_u (local.get $priority))
      (i64.shl (i64.extend_i32_u (local.get $reason)) (i64.const 32))))

  ;; How urgent the operation is whose facts are at $f: the highest priority starts first. Answer from the facts
  ;; alone: no globals that change. A node tries that before it accepts a policy.
  (func $score (param $f i32) (result i64)
    (local $waited i32) (local $live i32) (local $missing i32)
    (local.set $waited (call $waited (i64.load offset=32 (local.get $f))))
    (if (call $urgent (local.get $f)) (then
      (return (call $scored (i32.add (i32.const 10000) (local.get $waited)) (i32.const 1)))))
    (local.set $live (i32.load8_u offset=61 (local.get $f)))
    (local.set $missing (i32.sub (i32.load8_u offset=62 (local.get $f)) (local.get $live)))
    (if (i32.and (i32.eq (i32.load8_u offset=56 (local.get $f)) (i32.const 3)) ;; a repair
          (i32.and (i32.gt_s (local.get $live) (i32.const 0)) (i32.gt_s (local.get $missing) (i32.const 0)))) (then
      (if (i32.gt_s (local.get $missing) (i32.const 9)) (then (local.set $missing (i32.const 9))))
      (return (call $scored
        (i32.add (i32.mul (local.get $missing) (i32.const 1000)) (local.get $waited)) (i32.const 2)))))
    (call $scored (local.get $waited) (i32.const 3)))

  ;; A resolution as the eight bytes of its record: the verdict (1 coexist, 2 wait, 3 supersede, 4 merge,
  ;; 5 reject) in the lowest byte, the reason in bytes 2 and 3.
  (func $resolved (param $verdict i32) (param $reason i32) (result i64)
    (i64.extend_i32_u (i32.or (local.get $verdict) (i32.shl (local.get $reason) (i32.const 16)))))

  ;; Who yields when an operation arrives for an extent or a node that another one is already there for. A verdict
  ;; that could lose data is overruled by the cell. Kinds: 1 create, 2 seal, 3 repair, 4 move, 5 delete, 6 punch,
  ;; 7 decommission, 8 recommission.
  (func $conflict (param $existing i32) (param $incoming i32) (param $same_node i32) (result i64)
    (local $have i32) (local $comes i32) (local $same i32)
    (local.set $have (i32.load8_u offset=56 (local.get $existing)))
    (local.set $comes (i32.load8_u offset=56 (local.get $incoming)))
    (local.set $same (i32.eq (local.get $have) (local.get $comes)))
    (if (i32.and (i32.eq (local.get $have) (i32.const 5)) (i32.eqz (local.get $same))) (then
      (return (call $resolved (i32.const 5) (i32.const 5))))) ;; reject: it is being deleted
    (if (i32.eq (local.get $have) (i32.const 1)) (then
      (return (call $resolved (i32.const 2) (i32.const 8))))) ;; wait: still being created
    (if (i32.and (i32.eq (local.get $comes) (i32.const 5)) (i32.eqz (local.get $same))) (then
      (return (call $resolved (i32.const 3) (i32.const 4))))) ;; supersede: a delete wins
    (if (i32.and (i32.eq (local.get $have) (i32.const 7)) (i32.eq (local.get $comes) (i32.const 8))) (then
      (return (call $resolved (i32.const 3) (i32.const 7))))) ;; supersede: the node stays
    (if (i32.and (local.get $same) (i32.and
          (i32.ne (local.get $have) (i32.const 6))
          (i32.or (i32.ne (local.get $have) (i32.const 4)) (local.get $same_node)))) (then
      (return (call $resolved (i32.const 4) (i32.const 6))))) ;; merge: asked for twice
    (call $resolved (i32.const 2) (i32.const 8)))              ;; wait: one after the other

  (func (export "policy_score") (param $in i32) (param $n i32) (param $out i32) (result i32)
    (local $i i32) (local $at i32)
    (local.set $at (i32.add (local.get $in) (i32.load16_u offset=2 (local.get $in)))) ;; header_bytes
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i64.store (local.get $out) (call $score (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.load offset=4 (local.get $in))))    ;; stride
        (local.set $out (i32.add (local.get $out) (i32.load offset=16 (local.get $in)))) ;; answer_stride
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $n))

  (func (export "policy_conflict") (param $in i32) (param $n i32) (param $out i32) (result i32)
    (local $i i32) (local $at i32)
    (local.set $at (i32.add (local.get $in) (i32.load16_u offset=2 (local.get $in))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i64.store (local.get $out) (call $conflict
          (i32.add (local.get $at) (i32.const 8))
          (i32.add (i32.add (local.get $at) (i32.const 8)) (i32.load offset=12 (local.get $in))) ;; facts_stride
          (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.load offset=4 (local.get $in))))
        (local.set $out (i32.add (local.get $out) (i32.load offset=16 (local.get $in))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $n)))
