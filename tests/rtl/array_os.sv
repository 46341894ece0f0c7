// R x C PEs, outputs held, and a register beyond the array under each column for the results shifted out.
module array_os
  import words::*;
#(parameter R = 2, C = 2, OUTPUTS = 0) (
    input  logic clk,
    input  logic rst,
    input  logic [R-1:0][$bits(row_word)-1:0] rows,
    input  logic [C-1:0][$bits(column_word)-1:0] columns,
    input  logic send,  // enters every row at the same edge
    output logic [R*C-1:0] finished_final,
    output logic [C-1:0][$bits(sum_word)-1:0] results
);
  wire [$bits(row_word)-1:0] a[R][C+1];
  wire [$bits(column_word)-1:0] b[R+1][C];
  wire [$bits(sum_word)-1:0] out[R+1][C];
  wire sent[R][C+1];

  for (genvar i = 0; i < R; i++) begin : row
    assign a[i][0] = rows[i];
    assign sent[i][0] = send;
    for (genvar j = 0; j < C; j++) begin : column
      logic finished;
      pe_os #(.OUTPUTS(OUTPUTS), .TOP(i == 0)) pe (
          .clk, .rst,
          .a_in(a[i][j]), .a_out(a[i][j+1]),
          .b_in(b[i][j]), .b_out(b[i+1][j]),
          .send_in(sent[i][j]), .send_out(sent[i][j+1]),
          .above(out[i][j]), .below(out[i+1][j]),
          .finished, .finished_final(finished_final[i*C+j])
      );
    end
  end
  for (genvar j = 0; j < C; j++) begin : edges
    logic [$bits(sum_word)-1:0] beyond;
    always_ff @(posedge clk) beyond <= rst ? '0 : out[R][j];
    assign b[0][j] = columns[j];
    assign out[0][j] = '0;
    assign results[j] = beyond;
  end
endmodule
