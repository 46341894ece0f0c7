// Memories, controller and skew registers around a weight-stationary array. Runs the cases of the file +stimuli=..., prints for
// every result "<column> <edge> <value>", and "end" after each case.
module bench_ws
  import words::*;
#(parameter R = 2, C = 2, REGISTERS = 1, FOLDS = 64, DEPTH = 8192);
  logic clk = 0, rst = 1, go = 0;
  always #1 clk = !clk;

  logic overlap, full;
  logic [15:0] folds, fold_words[FOLDS], fold_rows[FOLDS], fold_columns[FOLDS];
  logic [31:0] fold_start[FOLDS];  // its first word in row_memory
  logic [C-1:0][15:0] weight_memory[FOLDS*R];
  logic [R-1:0][15:0] row_memory[DEPTH];

  logic [15:0] load_fold, stream_fold, load_row, word;
  logic [R-1:0] load, row_used;
  logic [C-1:0] column_used, column_right;
  logic first, last, done;
  control_ws #(.R(R), .C(C), .REGISTERS(REGISTERS)) control (
      .clk, .rst, .go, .overlap, .full, .folds,
      .load_fold, .load_rows(fold_rows[load_fold]),
      .stream_fold, .stream_words(fold_words[stream_fold]), .stream_rows(fold_rows[stream_fold]),
      .stream_columns(fold_columns[stream_fold]),
      .done, .load_row, .load, .word, .first, .last, .row_used, .column_used, .column_right
  );

  // What the memories give in this cycle; x where there is nothing, so that a PE that uses it shows.
  logic [R-1:0][15:0] row_data;
  logic [C-1:0][15:0] weight_data, weights;
  logic [R-1:0][$bits(row_word)-1:0] row_issue, rows;
  logic [C-1:0][$bits(sum_word)-1:0] psum_issue, psums, results;
  assign row_data = row_memory[fold_start[stream_fold] + word];
  assign weight_data = load[0] ? weight_memory[load_fold * R + load_row] : 'x;
  for (genvar i = 0; i < R; i++) begin : row
    assign row_issue[i] = {row_used[i], first, last, 1'b0, row_used[i] ? row_data[i] : 16'bx};
  end
  for (genvar j = 0; j < C; j++) begin : column
    assign psum_issue[j] = {column_used[j], last && column_right[j], 32'b0};
  end
  skew #(.LANES(R), .WIDTH($bits(row_word))) row_skew (.clk, .rst, .in(row_issue), .out(rows));
  skew #(.LANES(C), .WIDTH(16)) weight_skew (.clk, .rst, .in(weight_data), .out(weights));
  skew #(.LANES(C), .WIDTH($bits(sum_word))) psum_skew (.clk, .rst, .in(psum_issue), .out(psums));

  array_ws #(.R(R), .C(C), .REGISTERS(REGISTERS)) array (.clk, .rst, .load, .weights, .rows, .psums, .results);

  logic [C-1:0] finals;
  for (genvar j = 0; j < C; j++) begin : bottom
    wire sum_word result = results[j];
    assign finals[j] = result.valid && result.final_one;
  end
  assign done = |finals;

  // Edge 1 latches the first weight at PE(0, 0).
  int edges = 0;
  always_ff @(posedge clk) edges <= rst ? 0 : edges + (edges != 0 || load[0]);

  int file, status, cases, expected, limit, seen = 0, start;
  string path;
  logic [C*16-1:0] weight_line;
  logic [R*16-1:0] row_line;
  for (genvar j = 0; j < C; j++) begin : read_bottom
    always @(negedge clk)
      if (bottom[j].result.valid === 1'b1) begin
        $display("%0d %0d %0d", j, edges, $signed(bottom[j].result.data));
        seen += 1;
      end
  end

  initial begin
    status = $value$plusargs("stimuli=%s", path);
    file = $fopen(path, "r");
    status = $fscanf(file, "%d", cases);
    repeat (cases) begin
      status = $fscanf(file, "%d %d %d %d %d", overlap, full, folds, expected, limit);
      start = 0;
      for (int f = 0; f < folds; f++) begin
        status = $fscanf(file, "%d %d %d", fold_words[f], fold_rows[f], fold_columns[f]);
        fold_start[f] = start;
        for (int i = 0; i < R; i++) begin
          status = $fscanf(file, "%h", weight_line);
          weight_memory[f*R+i] = weight_line;
        end
        for (int t = 0; t < fold_words[f]; t++) begin
          status = $fscanf(file, "%h", row_line);
          row_memory[start+t] = row_line;
        end
        start += fold_words[f];
      end
      repeat (2) @(negedge clk);
      {rst, go} = 2'b01;
      seen = 0;
      for (int n = 0; n < limit && seen < expected; n++) @(negedge clk);
      repeat (R + C + 4) @(negedge clk);  // nothing else may come
      $display("end");
      {rst, go} = 2'b10;
    end
    $finish;
  end
endmodule
